//! A call is accepted: its before-hooks run, and it is on the disk before its caller hears of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER};
use sha2::{Digest, Sha256};

use crate::answer::code::Code;
use crate::answer::{self, Failure};
use crate::config::{CallbackUrl, PluginName};
use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::gateway::async_calls::rules::Rules;
use crate::gateway::async_calls::stored_call::StoredCall;
use crate::gateway::async_calls::{AsyncCalls, CONTEXT_KEY};
use crate::gateway::call::Call;
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Outcome, Source};
use crate::queue::progress::after;
use crate::queue::{self, Accepted, CallId, CallKey, Fault, Kept, NewCall, Priority};
use crate::registry::Deployment;

/// The `retry-after` of a call that was not accepted.
const RETRY: Duration = Duration::from_secs(5);
/// The key under which plugins share whom a call comes from.
const CALLER: &str = "caller";

/// What a caller asks for beyond the call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The key under which a call of this caller is made once.
    pub key: Option<&'a str>,
    /// Which calls it goes after.
    pub priority: Priority,
    /// Where it comes from; empty for a caller.
    pub origin: &'a str,
    /// Where its end is to be reported. The configuration permits it.
    pub callback: Option<&'a CallbackUrl>,
}

/// What became of a call.
#[derive(Debug)]
pub enum Acceptance {
    /// It is on the disk now.
    New(Box<Kept>),
    /// It is there since an earlier request with its key.
    Before(CallId),
    /// A plugin has answered, or it cannot be accepted.
    Ended(Box<Outcome>),
}

impl Gateway {
    /// Accepts a call of a function that takes arguments.
    pub async fn accept(
        self: &Arc<Self>,
        calls: &AsyncCalls,
        deployment: &Arc<Deployment>,
        call: Call<'_>,
        wish: Wish<'_>,
    ) -> Acceptance {
        let id = match CallId::random() {
            Ok(id) => id,
            Err(error) => return ended(Failure::of_code(Code::Internal, format!("no random bytes: {error}"))),
        };
        let function = match deployment.name_of(call.function, call.deadline).await {
            Ok(function) => function.into_owned(),
            Err(error) => {
                let failure = self.failure_of(error, deployment, call.function, Takes::Arguments);
                return ended(failure);
            }
        };
        let fingerprint = fingerprint_of(&call);
        let chain = deployment.chain_of(&function);
        let mut call = call.into_invocation(deployment, &function);
        share_try(&mut call, id, 0);
        let mut passed = Vec::new();
        if let Some(chain) = chain {
            let (seen, count, outcome) = chain.before_invoke(call).await;
            if let Some(outcome) = outcome {
                let (_, outcome) = chain.after_invoke(seen, outcome, count).await;
                return Acceptance::Ended(outcome);
            }
            passed = chain.plugins().iter().take(count).map(|plugin| plugin.settings.name.clone()).collect();
            call = seen;
        }
        let key = wish.key.map(|key| CallKey { key: key_of(&call, "async", key), fingerprint });
        let Some(new) = new_call(id, &call, passed, (wish, key), &calls.rules()) else {
            return ended(Failure::of_code(Code::InvalidJson, "the arguments are not JSON"));
        };
        let kept = Box::new(new.kept());
        match calls.queue.accept(new).await {
            Ok(Accepted::New) => Acceptance::New(kept),
            Ok(Accepted::Before(before)) => Acceptance::Before(before),
            Ok(Accepted::OtherRequest) => ended(key_reused()),
            Err(fault) => ended(failure_of(&fault)),
        }
    }
}

/// The failure of an idempotency key that belongs to another request.
#[must_use]
pub fn key_reused() -> Failure {
    let message = "this idempotency-key was used for a call with other arguments: use a new one";
    Failure::of_code(Code::IdempotencyKeyReused, message)
}

/// The failure of an idempotency key whose call is under way.
#[must_use]
pub fn key_in_use() -> Failure {
    Failure::of_code(Code::IdempotencyKeyInUse, "a call with this idempotency-key is under way")
}

/// The code of a fault of the queue.
#[must_use]
pub fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::Full(_) => Code::InsufficientStorage,
        Fault::TooMany(_) => Code::Overloaded,
        Fault::Broken(_) | Fault::Damaged(_) | Fault::Stopped => Code::QueueUnavailable,
    }
}

/// What a caller sees of a call that the queue has not accepted.
#[must_use]
pub fn failure_of(fault: &Fault) -> Failure {
    if !matches!(fault, Fault::TooMany(_)) {
        tracing::warn!(%fault, "an asynchronous call was not accepted");
    }
    let mut failure = Failure::of_code(code_of(fault), format!("the call was not accepted: {fault}"));
    failure.headers.push((RETRY_AFTER, answer::retry_after(RETRY)));
    failure
}

/// Shares which try of which call this is with plugins and the function. No plugin has the name of the owner.
pub(super) fn share_try(call: &mut Invocation, id: CallId, number: u32) {
    if let Ok(owner) = PluginName::new("metagate") {
        call.context.share(CONTEXT_KEY, &format!(r#"{{"id":"{id}","try":{number}}}"#), owner);
    }
}

fn ended(failure: Failure) -> Acceptance {
    Acceptance::Ended(Box::new(Outcome::failed(Source::Gateway, failure)))
}

/// A call to be accepted; none if its arguments are not JSON.
pub(super) fn new_call(
    id: CallId,
    call: &Invocation,
    passed: Vec<PluginName>,
    (wish, key): (Wish<'_>, Option<CallKey>),
    rules: &Rules,
) -> Option<NewCall> {
    let deployment = call.deployment.as_str();
    let callback = rules.callback(deployment, wish.callback);
    let rules = rules.of_deployment(deployment);
    let accepted = queue::now();
    Some(NewCall {
        id,
        deployment: deployment.into(),
        function: call.function.clone(),
        priority: wish.priority,
        origin: wish.origin.into(),
        accepted,
        due: accepted,
        expires: after(accepted, rules.max_age),
        policy: rules.policy,
        request: StoredCall::of(call, passed)?.to_bytes(),
        key,
        callback,
    })
}

/// The digest of what was asked for: the function and the arguments as the caller wrote them.
pub(super) fn fingerprint_of(call: &Call<'_>) -> [u8; 32] {
    let (arguments, names) = (call.arguments.as_json(), call.arguments.names().unwrap_or_default().as_bytes());
    // Texts of a query or a form become what the function takes, so they are other arguments than JSON like them.
    if call.arguments.are_text() { digest([arguments, names, b"text"]) } else { digest([arguments, names]) }
}

/// The digest of a key and of what it belongs to: calls that somebody waits for or not (`kind`), the deployment, the
/// function, and whoever calls it, as plugins say or as the request's authorization does.
pub(super) fn key_of(call: &Invocation, kind: &str, key: &str) -> [u8; 32] {
    let caller = call.context.shared(CALLER).map(str::as_bytes);
    let caller = caller.or_else(|| call.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes));
    let parts = [call.deployment.as_str().as_bytes(), call.function.as_bytes(), key.as_bytes()];
    digest([kind.as_bytes(), parts[0], parts[1], caller.unwrap_or_default(), parts[2]])
}

/// The digest of parts, each with its length, so that no other parts have the same.
fn digest<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
