//! Calls that plugins make of functions they were granted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::answer::Failure;
use crate::clock;
use crate::deployment::Takes;
use crate::gateway::call::Call;
use crate::gateway::counted::Counted;
use crate::gateway::plugin_call_record::{CallRecord, Called, Ending};
use crate::gateway::{Gateway, failure};
use crate::plugin::outcome::{Content, Outcome};
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
    let FunctionCall { deployment, function, arguments, deadline, callers, timeline } = call;
    let id = ulid::Ulid::new().to_string();
    let called = Called { deployment: &deployment, function: &function, id: &id };
    let record = CallRecord::begin(&gateway, timeline, called, arguments.as_json().len());
    let Some(deployment) = gateway.deployment(&deployment) else {
        let failure = failure::of_call(CallError::Gone, &deployment, &function, Takes::Arguments);
        let counted = gateway.calls().map(|all| Counted::of_nothing(&all.unknown, &function));
        let result = Err(failure);
        record.end(counted, Ending::default(), &result);
        return result;
    };
    let started = record.started;
    let call = Call {
        function: &function,
        takes: Takes::Arguments,
        arguments,
        request_id: &id,
        method: "INTERNAL",
        target: None,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers: record.headers(),
        started,
        // The plugin's own call, which waits for this one, has less time left than the function may take.
        deadline: deadline.min(deployment.deadline(started)),
        callers,
        mcp: None,
        timeline: record.timeline().cloned(),
    };
    let Outcome { status, times, content, headers, .. } = gateway.call(&deployment, call).await;
    let answered = clock::now();
    let mut ending = Ending { status: Some(status), times, stream: None };
    let result = match content {
        Content::Result(body) | Content::Answer(body) => Ok(body),
        Content::Stream(held, _) => {
            held.gather(STREAM_LIMIT).await;
            ending.stream = Some(clock::since(answered));
            held.gathered().unwrap_or_else(|| Ok(Bytes::new()))
        }
        Content::Problem { code, message, detail } => Err(Failure { status, code, message, detail, headers }),
    };
    record.end(Counted::of(&deployment, &function), ending, &result);
    result
}
