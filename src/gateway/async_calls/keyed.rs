//! Plain calls with an idempotency key: the first one is made, also when its caller leaves; others with the same
//! request get its answer. Answers of 500 and more are not kept: the next call under the key is made again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use tokio::time::timeout_at;
use tracing::Span;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::gateway::async_calls::accept::{failure_of, fingerprint_of, key_in_use, key_of, key_reused};
use crate::gateway::async_calls::attempt::{answer_of, gathered, headers_of};
use crate::gateway::async_calls::{AsyncCalls, FAULT_PAUSE};
use crate::gateway::call::{Call, outcome_of};
use crate::plugin::held_stream::{Room, Taken};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Outcome, Source};
use crate::queue::{Answer, CallKey, KeptAnswer, Queue, Reserved};
use crate::registry::Deployment;

/// Says that an answer is that of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a caller gets.
#[derive(Debug)]
struct Answered {
    outcome: Box<Outcome>,
    /// The memory of an answer that was read, until it is counted with the answers to callers.
    _taken: Option<Taken>,
}

impl From<Box<Outcome>> for Answered {
    fn from(outcome: Box<Outcome>) -> Self {
        Self { outcome, _taken: None }
    }
}

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
        *outcome_of(whole).await.outcome
    }

    async fn make_once(
        self: &Arc<Self>,
        calls: &Arc<AsyncCalls>,
        deployment: &Arc<Deployment>,
        call: Box<Invocation>,
        (key, fingerprint): (&str, [u8; 32]),
    ) -> Answered {
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
            None => match self.reserve(calls, key, keep, call.deadline).await {
                Ok(Reserved::New) => {
                    is_reserved = true;
                    Box::new(self.ask(deployment, &call, None).await)
                }
                Ok(Reserved::Before(Some(kept))) => match replayed(&calls.queue, self.room(), key, *kept).await {
                    Ok(answered) => return answered,
                    Err(failure) => failed(failure),
                },
                Ok(Reserved::Before(None)) => failed(gone()),
                Ok(Reserved::OtherRequest) => failed(key_reused()),
                Ok(Reserved::UnderWay) => failed(key_in_use()),
                Err(failure) => failed(failure),
            },
        };
        let (request_id, deadline) = (call.id.clone(), call.deadline);
        let outcome = match &chain {
            Some(chain) => chain.after_invoke(call, outcome, passed).await.1,
            None => outcome,
        };
        if !is_reserved {
            return outcome.into();
        }
        let outcome = gathered(*outcome, deadline).await;
        let kept = (outcome.status < 500).then(|| answer_of(&outcome, &request_id));
        self.settle(calls, key, (kept, keep), deadline).await;
        Box::new(outcome).into()
    }

    /// Reserves a key before the deadline of its call. What comes later is given up again.
    async fn reserve(
        &self,
        calls: &Arc<AsyncCalls>,
        key: CallKey,
        keep: Duration,
        deadline: Instant,
    ) -> Result<Reserved, Failure> {
        let own = Arc::clone(calls);
        let mut reserving = Box::pin(async move { own.queue.reserve(key, keep).await });
        if let Ok(reserved) = timeout_at(deadline.into(), &mut reserving).await {
            return reserved.map_err(|fault| failure_of(&fault));
        }
        let own = Arc::clone(calls);
        self.tasks.spawn(async move {
            if matches!(reserving.await, Ok(Reserved::New)) {
                let _logged = kept(&own, key, Settling::GiveUp).await;
            }
        });
        let message = "the idempotency-key was not written within the timeout of the call, which was not made";
        Err(Failure::of_code(Code::CallTimeout, message))
    }

    /// Keeps the answer of a key for so long, or gives the key up if there is none. The answer is not held in memory
    /// until it can be written: the next try keeps only that there was one.
    async fn settle(
        self: &Arc<Self>,
        calls: &Arc<AsyncCalls>,
        key: CallKey,
        (answer, keep): (Option<Answer>, Duration),
        deadline: Instant,
    ) {
        let again = if answer.is_some() { Settling::Keep(None, keep) } else { Settling::GiveUp };
        let first = answer.map_or(Settling::GiveUp, |answer| Settling::Keep(Some(answer), keep));
        let own = Arc::clone(calls);
        let mut settling = Box::pin(async move { kept(&own, key, first).await });
        let settled = timeout_at(deadline.into(), &mut settling).await;
        if matches!(settled, Ok(true)) {
            return;
        }
        // Until it is kept, others with the key are told that the call is under way.
        let (gateway, calls) = (Arc::clone(self), Arc::clone(calls));
        self.tasks.spawn(async move {
            if settled.is_err() && settling.await {
                return;
            }
            while !kept(&calls, key, again.clone()).await {
                tokio::select! {
                    () = tokio::time::sleep(FAULT_PAUSE) => {}
                    () = gateway.drain_begins() => return,
                }
            }
        });
    }
}

/// What is written at the end of the call of a key.
#[derive(Debug, Clone)]
enum Settling {
    /// Its answer, for so long; none where only that is kept that there was one.
    Keep(Option<Answer>, Duration),
    /// Others may make the call.
    GiveUp,
}

/// Writes what a key stands for. False if the disk does not take it.
async fn kept(calls: &AsyncCalls, key: CallKey, what: Settling) -> bool {
    let settled = match what {
        Settling::Keep(answer, keep) => calls.queue.keep_answer_of(key, answer, keep).await,
        Settling::GiveUp => calls.queue.release(key).await,
    };
    settled.inspect_err(|fault| tracing::warn!(%fault, "the answer of a call with a key cannot be kept")).is_ok()
}

fn failed(failure: Failure) -> Box<Outcome> {
    Box::new(Outcome::failed(Source::Gateway, failure))
}

fn gone() -> Failure {
    let message = "a call with this idempotency-key was made, but there was no room to keep its answer";
    Failure::of_code(Code::InsufficientStorage, message)
}

/// An answer that was kept, with the memory that it takes: that is there before the answer is read.
async fn replayed(
    queue: &Queue,
    room: Option<Arc<dyn Room>>,
    key: CallKey,
    kept: KeptAnswer,
) -> Result<Answered, Failure> {
    let taken = Taken::of(room, kept.bytes)?;
    let body = queue.body_under(key).await.map_err(|fault| failure_of(&fault))?;
    let answer = kept.with(body.ok_or_else(gone)?);
    let mut headers = headers_of(&answer.head);
    headers.push((REPLAYED, HeaderValue::from_static("true")));
    let outcome = Box::new(Outcome::answered(answer.status, headers, answer.body));
    Ok(Answered { outcome, _taken: Some(taken) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::queue::Bounds;

    /// Memory of so many bytes.
    struct Free(AtomicUsize);

    impl Room for Free {
        fn take(&self, _own: usize, more: usize) -> bool {
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(more)).is_ok()
        }

        fn give_back(&self, bytes: usize) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn an_answer_of_a_key_is_read_once_there_is_memory_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path(), Bounds { waiting: 10, bytes: 64 << 20 });
        let (key, keep) = (CallKey { key: [1; 32], fingerprint: [2; 32] }, Duration::from_secs(60));
        assert!(matches!(queue.reserve(key, keep).await, Ok(Reserved::New)));
        let answer = Answer { status: 200, body: vec![7; 1 << 20].into(), ..Answer::default() };
        queue.keep_answer_of(key, Some(answer), keep).await.unwrap();
        for (free, is_read) in [(1 << 20, true), ((1 << 20) - 1, false)] {
            let Ok(Reserved::Before(Some(kept))) = queue.reserve(key, keep).await else { panic!("no answer") };
            let room = Arc::new(Free(AtomicUsize::new(free)));
            let read = replayed(&queue, Some(Arc::clone(&room) as Arc<dyn Room>), key, *kept).await;
            match &read {
                Ok(answered) => assert_eq!(answered.outcome.body("").len(), 1 << 20),
                Err(failure) => assert_eq!(failure.status, 503),
            }
            assert_eq!((read.is_ok(), room.0.load(Ordering::Relaxed) == 0), (is_read, is_read));
            drop(read);
            assert_eq!(room.0.load(Ordering::Relaxed), free, "given back");
        }
        // What could not be written is not held: only that there was an answer.
        queue.keep_answer_of(key, None, keep).await.unwrap();
        assert!(matches!(queue.reserve(key, keep).await, Ok(Reserved::Before(None))));
    }
}
