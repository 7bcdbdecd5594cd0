//! One call from its arguments to its outcome: through the plugins that apply to the function, if any, to a worker of
//! the deployment. Where no plugin applies, a call does no work for plugins.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::answer::Failure;
use crate::clock;
use crate::config::PluginName;
use crate::deployment::Takes;
use crate::gateway::request_head::RequestHead;
use crate::gateway::{Gateway, VERSION, failure, whole_request};
use crate::invocation::stream::{Stream, StreamFormat};
use crate::invocation::times::Times;
use crate::invocation::{Arguments, ErrorKind, Returned, Target};
use crate::plugin::chain::Chain;
use crate::plugin::held_stream::{HeldStream, Room, StreamOf};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::registry::{Deployment, State};
use crate::traces::timeline::Timeline;
use crate::worker::failure::{CallError, LoadFailure, LoadFailureKind};
use crate::worker::patience::Patience;
use crate::worker::pool::{Pool, Request};

/// The `retry-after` of a deployment that failed before it had a pool: only a change of its files, of the machine or of
/// the configuration helps.
const RETRY_FAILED: Duration = Duration::from_secs(30);

/// A call as it comes in.
#[derive(Debug)]
pub struct Call<'a> {
    /// The name of the function, or an alias.
    pub function: &'a str,
    /// What the function is called with: arguments, or a whole HTTP request.
    pub takes: Takes,
    /// The arguments; for a whole HTTP request, its envelope without headers.
    pub arguments: Arguments,
    /// The request id.
    pub request_id: &'a str,
    /// The HTTP method, or `INTERNAL` for the call of a plugin.
    pub method: &'a str,
    /// The address that the client has asked for; none for the call of a plugin.
    pub target: Option<Target>,
    /// The client's address.
    pub peer: IpAddr,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// When the request had been read.
    pub started: Instant,
    /// When the call times out.
    pub deadline: Instant,
    /// The plugins that this call comes from. They do not run on it.
    pub callers: Vec<PluginName>,
    /// What the client of a tool has said besides the arguments: the text of a JSON object, for the function.
    pub mcp: Option<Arc<str>>,
    /// What keeps its steps, if something asks for them.
    pub timeline: Option<Arc<Timeline>>,
}

/// What is sent to a worker.
#[derive(Clone, Copy)]
struct Sent<'a> {
    function: &'a str,
    takes: Takes,
    arguments: &'a Arguments,
    head: &'a RequestHead<'a>,
    timeline: Option<&'a Arc<Timeline>>,
}

impl Call<'_> {
    fn head(&self) -> RequestHead<'_> {
        let Call { request_id: id, method, target, headers, peer, mcp, .. } = self;
        RequestHead { id, method, target: target.as_ref(), headers, peer: *peer, context: None, mcp: mcp.as_deref() }
    }

    pub(super) fn into_invocation(self, deployment: &Deployment, function: &str) -> Box<Invocation> {
        Box::new(Invocation {
            method: self.method.into(),
            target: self.target.map(Box::new),
            peer: self.peer,
            headers: self.headers,
            started: self.started,
            takes: self.takes,
            callers: self.callers,
            mcp: self.mcp,
            timeline: self.timeline,
            ..Invocation::new(self.request_id, deployment.name.clone(), function, self.arguments, self.deadline)
        })
    }
}

impl Gateway {
    /// Calls a function of a deployment and returns how the call ended.
    #[expect(clippy::manual_async_fn, reason = "the future of an async fn holds each argument twice")]
    pub fn call<'a>(
        self: &'a Arc<Self>,
        deployment: &'a Arc<Deployment>,
        call: Call<'a>,
    ) -> impl Future<Output = Outcome> + Send + 'a {
        async move {
            let named = match call.takes {
                Takes::Arguments => deployment.name_of(call.function, call.deadline).await,
                Takes::Request => Ok(Cow::Borrowed(call.function)),
            };
            // If waiting for the first load failed, the call below fails for the same reason, after its before-hooks.
            let function = named.as_deref().unwrap_or(call.function);
            if let Some(chain) = deployment.chain_of(function) {
                if call.arguments.rest().is_some() && chain.uses_arguments() {
                    // A reload has changed the plugins while the body began to arrive: they must see all of it.
                    let mut failure = self.failure_of(CallError::Stopping, deployment, function, call.takes);
                    failure.message = "the plugins have changed while the body arrived: send the request again".into();
                    return Outcome::failed(Source::Gateway, failure);
                }
                let invocation = call.into_invocation(deployment, function);
                // Boxed: it would double the future of calls without plugins.
                return *Box::pin(self.call_through(chain, Arc::clone(deployment), invocation)).await;
            }
            let mut times = Times::default();
            let result = match &named {
                // It has waited for a worker as long as a call may; waiting again would double that.
                Err(error @ CallError::Starting) => Err(error.clone()),
                Ok(_) | Err(_) => {
                    let Call { takes, arguments, deadline, timeline, .. } = &call;
                    let patience = Patience { deadline: *deadline, caller_left: None };
                    let sent =
                        Sent { function, takes: *takes, arguments, head: &call.head(), timeline: timeline.as_ref() };
                    self.deliver(deployment, sent, patience, &mut times).await
                }
            };
            let outcome = result.unwrap_or_else(|error| self.failed(error, deployment, function, call.takes));
            end_steps(call.timeline.as_ref(), &outcome);
            Outcome { times: completed(times, call.started), ..outcome }
        }
    }

    /// Runs a call through its plugins. With an after-hook in the chain, the call continues when its caller goes away,
    /// unless it waits in the queue, where it fails then: audit logs and the like see how every call ended.
    async fn call_through(
        self: &Arc<Self>,
        chain: Chain,
        deployment: Arc<Deployment>,
        call: Box<Invocation>,
    ) -> Box<Outcome> {
        if !chain.has_after_invoke() {
            return self.run_chain(&chain, &deployment, call, None).await;
        }
        let (gateway, left) = (Arc::clone(self), CancellationToken::new());
        // Dropped with this future, which the caller waits for.
        let _caller = left.clone().drop_guard();
        // Where tracing is on, its lines have the ids of the call on this task too.
        let span = call.timeline.as_ref().map_or_else(Span::none, |_| Span::current());
        let running = async move { gateway.run_chain(&chain, &deployment, call, Some(&left)).await };
        let whole = tokio::spawn(running.instrument(span));
        outcome_of(whole).await
    }

    async fn run_chain(
        &self,
        chain: &Chain,
        deployment: &Deployment,
        call: Box<Invocation>,
        caller_left: Option<&CancellationToken>,
    ) -> Box<Outcome> {
        let begun = clock::now();
        let (call, passed, ended) = chain.before_invoke(call).await;
        let mut times = Times::default();
        let outcome = match ended {
            Some(outcome) => outcome,
            None => {
                let outcome = self.ask(deployment, &call, caller_left).await;
                times = outcome.times;
                Box::new(outcome)
            }
        };
        let (_, mut outcome) = chain.after_invoke(call, outcome, passed).await;
        // Hooks may have put another outcome into its place.
        let plugins = clock::since(begun).saturating_sub(times.in_worker());
        outcome.times = Times { plugins: Some(plugins), ..times };
        outcome
    }

    /// Has a worker answer a call whose before-hooks have run.
    pub(super) async fn ask(
        &self,
        deployment: &Deployment,
        call: &Invocation,
        caller_left: Option<&CancellationToken>,
    ) -> Outcome {
        let Invocation { function, takes, arguments, deadline, timeline, .. } = call;
        let (begun, mut times) = (clock::now(), Times::default());
        let patience = Patience { deadline: *deadline, caller_left };
        let (head, timeline) = (head_of(call), timeline.as_ref());
        let sent = Sent { function, takes: *takes, arguments, head: &head, timeline };
        let answered = self.deliver(deployment, sent, patience, &mut times).await;
        let outcome = answered.unwrap_or_else(|error| self.failed(error, deployment, function, *takes));
        end_steps(timeline, &outcome);
        Outcome { times: completed(times, begun), ..outcome }
    }

    /// Sends a call to a worker. If the release stopped before it took the call, the release that replaced it gets it.
    async fn deliver(
        &self,
        deployment: &Deployment,
        sent: Sent<'_>,
        patience: Patience<'_>,
        times: &mut Times,
    ) -> Result<Outcome, CallError> {
        let Sent { function, takes, arguments, head, timeline } = sent;
        let with_headers;
        let arguments = match takes {
            Takes::Arguments => arguments,
            Takes::Request => {
                with_headers = whole_request::with_headers(arguments, head.headers);
                &with_headers
            }
        };
        let render_head = || head.to_json(takes);
        let request = Request { takes, arguments, head: &render_head, timeline, id: head.id };
        let mut called = match pool_of(deployment) {
            Ok(pool) => pool.call(function, &request, patience, times).await,
            Err(error) => Err(error),
        };
        if matches!(called, Err(CallError::Stopping)) && !self.is_draining() {
            // Boxed: this is rare, and its state would enlarge the future of every call.
            called = Box::pin(self.call_successor(deployment, function, &request, patience, times)).await;
        }
        match (called?, takes) {
            (Returned::Value(value), Takes::Arguments) => Ok(Outcome::returned(value.unwrap_or_default())),
            (Returned::Value(value), Takes::Request) => answered(deployment, sent, &value.unwrap_or_default()),
            (Returned::Response(envelope), _) => answered(deployment, sent, &envelope),
            (Returned::Stream(stream), _) => streamed(deployment, sent, *stream, self.room()),
        }
    }

    /// Calls the release that replaced one that stopped; if that stops as well, the next one.
    async fn call_successor(
        &self,
        stopped: &Deployment,
        function: &str,
        request: &Request<'_>,
        patience: Patience<'_>,
        times: &mut Times,
    ) -> Result<Returned, CallError> {
        let mut sequence = stopped.sequence;
        loop {
            let Some(next) = self.deployment(stopped.name.as_str()) else { return Err(CallError::Gone) };
            if next.sequence == sequence {
                return Err(CallError::Stopping);
            }
            sequence = next.sequence;
            let called = pool_of(&next)?.call(function, request, patience, times).await;
            if !matches!(called, Err(CallError::Stopping)) {
                return called;
            }
        }
    }
}

/// The outcome of a call that runs on a task of its own.
pub(super) async fn outcome_of<T: From<Box<Outcome>>>(whole: JoinHandle<T>) -> T {
    match whole.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => {
                let failure = failure::of_call(CallError::Stopping, "", "", Takes::Arguments);
                Box::new(Outcome::failed(Source::Gateway, failure)).into()
            }
        },
    }
}

/// Ends the steps that have failed with a call: what they wait for does not come any more.
fn end_steps(timeline: Option<&Arc<Timeline>>, outcome: &Outcome) {
    if let (Some(timeline), Content::Problem { code, .. }) = (timeline, &outcome.content) {
        timeline.fail_open(code);
    }
}

/// The times of a call that has just ended, and that began to wait for a worker at `start`.
fn completed(times: Times, start: Instant) -> Times {
    let whole = clock::since(start);
    match times.worker {
        Some(_) => Times { worker: Some(whole.saturating_sub(times.queue)), ..times },
        None => Times { queue: whole, ..times },
    }
}

impl Gateway {
    /// The outcome of a call that failed.
    pub(super) fn failed(&self, error: CallError, deployment: &Deployment, function: &str, takes: Takes) -> Outcome {
        let source = match &error {
            CallError::Function(error) if error.kind != ErrorKind::Argument => Source::FunctionError,
            _ => Source::Gateway,
        };
        Outcome::failed(source, self.failure_of(error, deployment, function, takes))
    }

    /// What the caller of a function sees of an error. Who looks for a function where a web app is learns its address.
    pub fn failure_of(&self, error: CallError, deployment: &Deployment, function: &str, takes: Takes) -> Failure {
        let address = match error {
            CallError::FunctionNotFound if takes == Takes::Arguments => self.address_of_app(deployment),
            _ => None,
        };
        let mut failure = failure::of_call(error, deployment.name.as_str(), function, takes);
        if let Some(address) = address {
            failure.message.push_str(&format!("; its web app is at {address}"));
        }
        failure
    }

    /// The address of the web app of a deployment, if it has one.
    #[must_use]
    pub fn address_of_app(&self, deployment: &Deployment) -> Option<String> {
        deployment.has_app().then(|| format!("/{}/{}/{VERSION}/http/", self.prefix, deployment.name))
    }
}

fn head_of(call: &Invocation) -> RequestHead<'_> {
    let Invocation { id, method, target, headers, peer, context, mcp, .. } = call;
    let (context, mcp) = (Some(context), mcp.as_deref());
    RequestHead { id, method, target: target.as_deref(), headers, peer: *peer, context, mcp }
}

/// The answer that a function gave to a whole HTTP request.
fn answered(deployment: &Deployment, sent: Sent<'_>, value: &Bytes) -> Result<Outcome, CallError> {
    whole_request::outcome(value).map_err(|fault| unusable(deployment, sent, &fault))
}

fn unusable(deployment: &Deployment, sent: Sent<'_>, fault: &str) -> CallError {
    tracing::warn!(deployment = %deployment.name, fault, "a function returned an unusable HTTP answer");
    let Sent { function, head, .. } = sent;
    deployment.logs.report(head.id, &format!("{function} returned an unusable HTTP answer: {fault}"));
    CallError::Protocol(format!("returned an unusable HTTP answer ({fault})").into())
}

/// The stream that a function answers with.
fn streamed(
    deployment: &Deployment,
    sent: Sent<'_>,
    stream: Stream,
    room: Option<Arc<dyn Room>>,
) -> Result<Outcome, CallError> {
    let format = StreamFormat::of_accept(sent.head.headers.get(ACCEPT).map(HeaderValue::as_bytes));
    let head = match (&stream.response, sent.takes) {
        (Some(envelope), _) => whole_request::head(envelope),
        (None, Takes::Arguments) => Ok((200, Vec::new())),
        (None, Takes::Request) => Err("a stream of items".to_owned()),
    };
    let (status, headers) = head.map_err(|fault| unusable(deployment, sent, &fault))?;
    let of = StreamOf { deployment: deployment.name.as_str().into(), function: sent.function.into() };
    Ok(Outcome::streamed(status, headers, HeldStream::new(stream, of, failure::of_stream, room), format))
}

/// The pool of a deployment, or why there is none.
fn pool_of(deployment: &Deployment) -> Result<&Arc<Pool>, CallError> {
    match &deployment.state {
        State::Running(pool) => Ok(pool),
        State::Failed(reason) => Err(not_loaded(reason)),
        State::Pending => Err(CallError::Starting),
    }
}

fn not_loaded(reason: &Arc<LoadFailure>) -> CallError {
    match reason.kind {
        LoadFailureKind::Spawn => CallError::SpawnFailed(RETRY_FAILED, reason.message.clone()),
        LoadFailureKind::Load
        | LoadFailureKind::Timeout
        | LoadFailureKind::Died
        | LoadFailureKind::Refused
        | LoadFailureKind::Install => CallError::NotLoaded(RETRY_FAILED, Arc::clone(reason)),
    }
}
