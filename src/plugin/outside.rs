//! The world outside plugins: time, the network, other functions, the log. Each is a small trait, so that `metagate
//! plugin test` can replace it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::config::{HttpGrant, PluginName};
use crate::invocation::Arguments;
use crate::plugin::apart::message::{Answer, Request};
use crate::traces::timeline::Timeline;

/// The future of a trait's method.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Looks up an environment variable.
pub type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The world outside plugins.
#[derive(Clone)]
pub struct Outside {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Makes the HTTP client of one plugin from its grants.
    pub http: Arc<dyn Fn(Vec<HttpGrant>) -> Arc<dyn SendHttp> + Send + Sync>,
    /// Calls of other functions.
    pub functions: Arc<dyn CallFunction>,
    /// The log.
    pub log: Arc<dyn WriteLog>,
    /// Variables of the environment, by name.
    pub variable: Arc<Variable>,
    /// The gateway, in the process of a plugin that runs apart from it; none in the gateway itself.
    pub(crate) gateway: Option<Arc<dyn AskGateway>>,
}

/// Asks the gateway, and waits for its answer.
pub(crate) trait AskGateway: Send + Sync {
    /// Asks, with these bytes in addition. Returns the answer and its bytes.
    fn ask(&self, request: Request, bytes: &[&[u8]]) -> Result<(Answer, Bytes), String>;
    /// Asks for the content of the stream that ends the call, without blocking the thread: the content, or why there is
    /// none.
    fn content(&self) -> Boxed<Result<Result<Bytes, Failure>, String>>;
}

/// Wall clock and monotonic clock.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Time since a fixed point in the past; never decreases.
    fn monotonic(&self) -> Duration;
    /// The instant from which the age of a call and its remaining time are computed.
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A plugin's request to another server.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The answer of the server.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Sends requests.
pub trait SendHttp: Send + Sync {
    /// Sends a request, if its origin is granted. Fails at the deadline.
    fn send(&self, request: HttpRequest, deadline: Instant) -> Boxed<Result<HttpResponse, String>>;
}

/// A plugin's call of a function.
#[derive(Debug, Clone)]
pub struct FunctionCall {
    /// The deployment.
    pub deployment: String,
    /// The function.
    pub function: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// The deadline of the call.
    pub deadline: Instant,
    /// The plugins through which the call comes, the last caller last.
    pub callers: Vec<PluginName>,
    /// What keeps the steps of the call that the plugin runs for, if something asks for them.
    pub timeline: Option<Arc<Timeline>>,
}

/// Calls functions.
pub trait CallFunction: Send + Sync {
    /// Calls a function and returns the JSON of its result.
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>>;
}

/// The level of a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The finest detail.
    Trace,
    /// Details of single calls.
    Debug,
    /// Starts, ends and changes of state.
    Info,
    /// A problem that was handled.
    Warn,
    /// A problem that a person must solve.
    Error,
}

/// Writes the log lines of plugins.
pub trait WriteLog: Send + Sync {
    /// Writes one line without control characters. `call` is the request id, if there is one.
    fn write(&self, plugin: &PluginName, call: Option<&str>, level: Level, line: &str);
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The gateway's own log.
#[derive(Debug)]
pub struct GatewayLog;

impl WriteLog for GatewayLog {
    fn write(&self, plugin: &PluginName, call: Option<&str>, level: Level, line: &str) {
        let request_id = call.unwrap_or_default();
        match level {
            Level::Trace => tracing::trace!(%plugin, request_id, "{line}"),
            Level::Debug => tracing::debug!(%plugin, request_id, "{line}"),
            Level::Info => tracing::info!(%plugin, request_id, "{line}"),
            Level::Warn => tracing::warn!(%plugin, request_id, "{line}"),
            Level::Error => tracing::error!(%plugin, request_id, "{line}"),
        }
    }
}

/// Refuses all calls: without a gateway there are no functions.
#[derive(Debug)]
pub struct NoFunctions;

impl CallFunction for NoFunctions {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let message = format!("no deployment {:?}: no gateway is running", call.deployment);
        Box::pin(std::future::ready(Err(Failure::of_code(Code::DeploymentNotFound, message))))
    }
}
