//! Plain calls with an idempotency key: the first one is made, also when its caller leaves; others with the same
//! request get its answer. Answers of 500 and more are not kept: the next call under the key is made again.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tracing::Span;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::gateway::async_calls::accept::{failure_of, fingerprint_of, key_in_use, key_of, key_reused};
use crate::gateway::async_calls::attempt::{answer_of, gathered, headers_of};
use crate::gateway::async_calls::{AsyncCalls, FAULT_PAUSE};
use crate::gateway::call::{Call, outcome_of};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Outcome, Source};
use crate::queue::{Answer, CallKey, Reserved};
use crate::registry::Deployment;

/// Says that an answer is that of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Gateway {
    /// Makes a call once for its key.
    pub async fn call_once(
        self: &Arc<Self>,
        calls: &Arc<AsyncCalls>,
        deployment: &Arc<Deployment>,
        call: Call<'_>,
        key: &str,
    ) -> Outcome {
        let function = match deployment.name_of(call.function, call.deadline).await {
            Ok(function) => function.into_owned(),
            Err(error) => return self.failed(error, deployment, call.function, Takes::Arguments),
        };
        let fingerprint = fingerprint_of(&call);
        let call = call.into_invocation(deployment, &function);
        let (gateway, calls, deployment) = (Arc::clone(self), Arc::clone(calls), Arc::clone(deployment));
        let (key, span) = (Box::<str>::from(key), Span::current());
        let made = async move { gateway.make_once(&calls, &deployment, call, (&key, fingerprint)).await };
        // A task of its own: it goes on when its caller leaves, who may ask again.
        let whole = self.tasks.spawn(tracing::Instrument::instrument(made, span));
        *outcome_of(whole).await
    }

    async fn make_once(
        self: &Arc<Self>,
        calls: &Arc<AsyncCalls>,
        deployment: &Arc<Deployment>,
        call: Box<Invocation>,
        (key, fingerprint): (&str, [u8; 32]),
    ) -> Box<Outcome> {
        let chain = deployment.chain_of(&call.function);
        let (call, passed, ended) = match &chain {
            Some(chain) => chain.before_invoke(call).await,
            None => (call, 0, None),
        };
        let key = CallKey { key: key_of(&call, "plain", key), fingerprint };
        let keep = calls.rules().of_deployment(deployment.name.as_str()).policy.keep;
        let mut is_reserved = false;
        let outcome = match ended {
            Some(outcome) => outcome,
            None => match calls.queue.reserve(key, keep).await {
                Ok(Reserved::New) => {
                    is_reserved = true;
                    Box::new(self.ask(deployment, &call, None).await)
                }
                Ok(Reserved::Before(Some(answer))) => return Box::new(replayed(*answer)),
                Ok(Reserved::Before(None)) => failed(gone()),
                Ok(Reserved::OtherRequest) => failed(key_reused()),
                Ok(Reserved::UnderWay) => failed(key_in_use()),
                Err(fault) => failed(failure_of(&fault)),
            },
        };
        let (request_id, deadline) = (call.id.clone(), call.deadline);
        let outcome = match &chain {
            Some(chain) => chain.after_invoke(call, outcome, passed).await.1,
            None => outcome,
        };
        if !is_reserved {
            return outcome;
        }
        let outcome = gathered(*outcome, deadline).await;
        let kept = (outcome.status < 500).then(|| answer_of(&outcome, &request_id));
        if !settle(calls, key, kept.clone(), keep).await {
            // Until it is kept, others with the key are told that the call is under way.
            let (gateway, calls) = (Arc::clone(self), Arc::clone(calls));
            self.tasks.spawn(async move {
                while !settle(&calls, key, kept.clone(), keep).await {
                    tokio::select! {
                        () = tokio::time::sleep(FAULT_PAUSE) => {}
                        () = gateway.drain_begins() => return,
                    }
                }
            });
        }
        Box::new(outcome)
    }
}

/// Keeps the answer of a key for so long, or gives the key up. False if the disk does not take it.
async fn settle(calls: &AsyncCalls, key: CallKey, answer: Option<Answer>, keep: Duration) -> bool {
    let settled = match answer {
        Some(answer) => calls.queue.keep_answer_of(key, answer, keep).await,
        None => calls.queue.release(key).await,
    };
    settled.inspect_err(|fault| tracing::warn!(%fault, "the answer of a call with a key cannot be kept yet")).is_ok()
}

fn failed(failure: Failure) -> Box<Outcome> {
    Box::new(Outcome::failed(Source::Gateway, failure))
}

fn gone() -> Failure {
    let message = "a call with this idempotency-key was made, but there was no room to keep its answer";
    Failure::of_code(Code::InsufficientStorage, message)
}

/// An answer that was kept.
fn replayed(answer: Answer) -> Outcome {
    let mut headers = headers_of(&answer.head);
    headers.push((REPLAYED, HeaderValue::from_static("true")));
    Outcome::answered(answer.status, headers, answer.body)
}
