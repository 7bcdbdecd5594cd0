//! Calling a function of a deployment, through its plugins if it has any: what comes of it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::answer::Failure;
use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::invocation::{Arguments, ErrorKind, Returned};
use crate::plugin::chain::Chain;
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::outside::{Boxed, CallFunction, FunctionCall};
use crate::registry::{Live, Serving};
use crate::worker::outcome::{CallError, LoadFailure, LoadFailureKind};

/// What is wrong stays wrong until somebody changes the folder or the machine.
const RETRY_REFUSED: Duration = Duration::from_secs(30);

/// What callers are told of a failed call of a deployment's function.
pub type Tell = fn(CallError, &str, &str) -> Failure;

impl Gateway {
    /// Calls a function of a deployment with what it takes. A call that a release no longer took goes to the one in its place.
    pub async fn invoke(
        &self,
        live: &Live,
        function: &str,
        takes: Takes,
        arguments: &Arguments,
        deadline: Instant,
    ) -> Result<Returned, CallError> {
        let called = invoke_on(live, function, takes, arguments, deadline).await;
        if !matches!(called, Err(CallError::Stopping)) || self.is_draining() {
            return called;
        }
        let mut sequence = live.sequence;
        loop {
            let Some(next) = self.registry.get(live.name.as_str()) else { return Err(CallError::Gone) };
            if next.sequence == sequence {
                return Err(CallError::Stopping);
            }
            sequence = next.sequence;
            let called = invoke_on(&next, function, takes, arguments, deadline).await;
            if !matches!(called, Err(CallError::Stopping)) {
                return called;
            }
        }
    }

    /// Calls a function through its plugins. `tell` says what callers are told of failures. When a plugin has an
    /// after-hook, the call goes to its end even if its caller goes away.
    pub async fn invoke_through(
        self: &Arc<Self>,
        chain: Chain,
        live: Arc<Live>,
        call: Box<Invocation>,
        tell: Tell,
    ) -> Box<Outcome> {
        let gateway = Arc::clone(self);
        if !chain.has_after_invoke() {
            return gateway.run_chain(&chain, &live, call, tell).await;
        }
        let whole = tokio::spawn(async move { gateway.run_chain(&chain, &live, call, tell).await });
        match whole.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Box::new(Outcome::failed(Source::Gateway, tell(CallError::Stopping, "", ""))),
            },
        }
    }

    /// Calls the function of a call that has passed its before-hooks.
    async fn reach(&self, live: &Live, call: &Invocation) -> Result<Outcome, CallError> {
        if call.takes == Takes::Request {
            return self.exchange(live, &call.arguments, &call.headers, call.deadline).await;
        }
        let called = self.invoke(live, &call.function, call.takes, &call.arguments, call.deadline).await;
        called.map(|Returned(value)| Outcome::returned(value.unwrap_or_default()))
    }

    async fn run_chain(&self, chain: &Chain, live: &Live, call: Box<Invocation>, tell: Tell) -> Box<Outcome> {
        let (call, passed, ended) = chain.before_invoke(call).await;
        let outcome = match ended {
            Some(outcome) => outcome,
            None => {
                let begun = Instant::now();
                let mut outcome = self.reach(live, &call).await.unwrap_or_else(|error| failed(error, &call, tell));
                outcome.in_worker = begun.elapsed();
                Box::new(outcome)
            }
        };
        chain.after_invoke(call, outcome, passed).await.1
    }
}

fn failed(error: CallError, call: &Invocation, tell: Tell) -> Outcome {
    let source = match &error {
        CallError::Function(error) if error.kind == ErrorKind::Function => Source::FunctionError,
        _ => Source::Gateway,
    };
    Outcome::failed(source, tell(error, call.deployment.as_str(), &call.function))
}

async fn invoke_on(
    live: &Live,
    function: &str,
    takes: Takes,
    arguments: &Arguments,
    deadline: Instant,
) -> Result<Returned, CallError> {
    match &live.serving {
        Serving::Pool(pool) => pool.call(function, takes, arguments, deadline).await,
        Serving::Refused(failure) => Err(refused(failure)),
        Serving::Waiting => Err(CallError::Starting),
    }
}

fn refused(failure: &LoadFailure) -> CallError {
    match failure.kind {
        LoadFailureKind::Spawn => CallError::SpawnFailed(RETRY_REFUSED, failure.message.clone()),
        LoadFailureKind::Load
        | LoadFailureKind::Timeout
        | LoadFailureKind::Died
        | LoadFailureKind::Refused
        | LoadFailureKind::Install => CallError::CrashLoop(RETRY_REFUSED),
    }
}

/// The gateway's functions, for plugins that were granted some of them.
pub struct FunctionsForPlugins {
    tell: Tell,
    gateway: OnceLock<(Weak<Gateway>, Handle)>,
}

impl FunctionsForPlugins {
    /// Functions that cannot be called before [`Self::open`].
    #[must_use]
    pub fn new(tell: Tell) -> Self {
        Self { tell, gateway: OnceLock::new() }
    }

    /// From now on they can be called; calls run on `runtime`, where the workers' channels are.
    pub fn open(&self, gateway: &Arc<Gateway>, runtime: Handle) {
        let _there_already = self.gateway.set((Arc::downgrade(gateway), runtime));
    }
}

impl CallFunction for FunctionsForPlugins {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let stopping = (self.tell)(CallError::Stopping, &call.deployment, &call.function);
        let Some((gateway, runtime)) = self.gateway.get() else { return Box::pin(std::future::ready(Err(stopping))) };
        let Some(gateway) = gateway.upgrade() else { return Box::pin(std::future::ready(Err(stopping))) };
        let called = runtime.spawn(call_for_plugin(gateway, call, self.tell));
        Box::pin(async move { called.await.unwrap_or(Err(stopping)) })
    }
}

async fn call_for_plugin(gateway: Arc<Gateway>, call: FunctionCall, tell: Tell) -> Result<Bytes, Failure> {
    let FunctionCall { deployment, function, arguments, deadline, callers } = call;
    let Some(live) = gateway.deployment(&deployment) else {
        return Err(Failure::new(404, "deployment_not_found", format!("no deployment {deployment:?}")));
    };
    let deadline = deadline.min(live.deadline(Instant::now()));
    let id = ulid::Ulid::new().to_string();
    // What it has waited for in vain the call itself will tell, after its hooks.
    let function = live.name_of(&function, deadline).await.unwrap_or(Cow::Borrowed(&function));
    let mut invocation = Box::new(Invocation::new(&id, live.name.clone(), &function, arguments, deadline));
    invocation.method = "INTERNAL".into();
    invocation.callers = callers;
    let chain = live.chain_of(&function).unwrap_or_else(|| Chain::new(Vec::new()));
    let outcome = gateway.run_chain(&chain, &live, invocation, tell).await;
    match outcome.content {
        Content::Result(body) | Content::Answer(body) => Ok(body),
        Content::Problem { code, message, payload } => {
            Err(Failure { status: outcome.status, code, message, payload, headers: outcome.headers })
        }
    }
}
