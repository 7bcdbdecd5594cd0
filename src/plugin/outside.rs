//! The world outside of plugins: time, the network, other functions, the log. Each is a small trait, so that
//! `metagate plugin test` can replace it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::config::{HttpGrant, PluginName};
use crate::invocation::Arguments;

/// A future of an interface.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Looks up an environment variable.
pub type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The world outside of one plugin.
#[derive(Clone)]
pub struct Outside {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Requests to other servers: a client for what one plugin was granted.
    pub http: Arc<dyn Fn(Vec<HttpGrant>) -> Arc<dyn SendHttp> + Send + Sync>,
    /// Calls of other functions.
    pub functions: Arc<dyn CallFunction>,
    /// The log.
    pub log: Arc<dyn WriteLog>,
    /// Variables of the environment, by name.
    pub variable: Arc<Variable>,
}

/// Wall clock and monotonic clock.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Time since some point in the past; it never goes back.
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
    /// Absolute address.
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
    /// Sends one, to what is granted only, and gives up at the deadline.
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
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// The plugins that the call comes through, the nearest last.
    pub callers: Vec<PluginName>,
}

/// Calls functions.
pub trait CallFunction: Send + Sync {
    /// Calls one and gives its result's JSON.
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>>;
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Trace,
    /// Per call.
    Debug,
    /// Lifecycle.
    Info,
    /// Odd but handled.
    Warn,
    /// Someone must act.
    Error,
}

/// Writes lines of plugins.
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

/// Where there is no gateway, no function can be called.
#[derive(Debug)]
pub struct NoFunctions;

impl CallFunction for NoFunctions {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let message = format!("no deployment {:?}: no gateway is running", call.deployment);
        Box::pin(std::future::ready(Err(Failure::of_code(Code::DeploymentNotFound, message))))
    }
}
