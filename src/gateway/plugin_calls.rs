//! Calls that plugins make of functions they were granted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use http::HeaderMap;
use tokio::runtime::Handle;

use crate::answer::Failure;
use crate::clock;
use crate::deployment::Takes;
use crate::gateway::call::Call;
use crate::gateway::{Gateway, failure};
use crate::plugin::outcome::Content;
use crate::plugin::outside::{Boxed, CallFunction, FunctionCall};
use crate::worker::failure::CallError;

/// Bytes of a stream that a plugin gets as a whole.
const STREAM_LIMIT: usize = 8 << 20;

/// The gateway's functions, for plugins that were granted some of them. Plugins are made before the gateway, so this is
/// made first and opened later.
#[derive(Default)]
pub struct FunctionsForPlugins {
    // Weak: the gateway owns the plugins, which own this.
    gateway: OnceLock<(Weak<Gateway>, Handle)>,
}

impl FunctionsForPlugins {
    /// Lets plugins call functions of this gateway from now on. The calls run on `runtime`, which owns the workers'
    /// channels; plugins run on threads of their own.
    pub fn open(&self, gateway: &Arc<Gateway>, runtime: Handle) {
        let _opened_before = self.gateway.set((Arc::downgrade(gateway), runtime));
    }
}

impl CallFunction for FunctionsForPlugins {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let stopping = failure::of_call(CallError::Stopping, &call.deployment, &call.function, Takes::Arguments);
        let opened = self.gateway.get().and_then(|(gateway, runtime)| Some((gateway.upgrade()?, runtime)));
        let Some((gateway, runtime)) = opened else { return Box::pin(std::future::ready(Err(stopping))) };
        let called = runtime.spawn(call_for_plugin(gateway, call));
        Box::pin(async move { called.await.unwrap_or(Err(stopping)) })
    }
}

async fn call_for_plugin(gateway: Arc<Gateway>, call: FunctionCall) -> Result<Bytes, Failure> {
    let FunctionCall { deployment, function, arguments, deadline, callers } = call;
    let Some(deployment) = gateway.deployment(&deployment) else {
        return Err(failure::of_call(CallError::Gone, &deployment, &function, Takes::Arguments));
    };
    let started = clock::now();
    let id = ulid::Ulid::new().to_string();
    let call = Call {
        function: &function,
        takes: Takes::Arguments,
        arguments,
        request_id: &id,
        method: "INTERNAL",
        target: None,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers: HeaderMap::new(),
        started,
        // The plugin's own call, which waits for this one, has less time left than the function may take.
        deadline: deadline.min(deployment.deadline(started)),
        callers,
        timeline: None,
    };
    let outcome = gateway.call(&deployment, call).await;
    match outcome.content {
        Content::Result(body) | Content::Answer(body) => Ok(body),
        Content::Stream(held, _) => {
            held.gather(STREAM_LIMIT).await;
            held.gathered().unwrap_or_else(|| Ok(Bytes::new()))
        }
        Content::Problem { code, message, detail } => {
            Err(Failure { status: outcome.status, code, message, detail, headers: outcome.headers })
        }
    }
}
