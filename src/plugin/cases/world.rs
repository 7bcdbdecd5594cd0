//! The world outside a plugin under test: clocks that the cases advance, answers that the case contains, and a log that
//! the case can compare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use url::Url;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::config::PluginName;
use crate::plugin::cases::form::{CallAnswer, Case, HttpAnswer};
use crate::plugin::outside::{
    Boxed, CallFunction, Clock, FunctionCall, HttpRequest, HttpResponse, Level, Outside, SendHttp, WriteLog,
};

/// The monotonic clock starts at this value, so that the age of a case's call can be subtracted from it.
const AHEAD: Duration = Duration::from_secs(400 * 86_400);

/// The world outside one plugin.
pub(super) struct World {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    /// The time to which the wall clock was set, in milliseconds since 1970, and `passed` at that moment.
    wall: (u64, Duration),
    passed: Duration,
    /// The clocks run by themselves, and nothing is recorded.
    is_live: bool,
    http: Vec<HttpAnswer>,
    invoke: Vec<CallAnswer>,
    log: Vec<String>,
    /// A message for each request and call of the plugin for which the case has no answer.
    missed: Vec<String>,
}

impl World {
    pub(super) fn new(now: Option<u64>) -> Arc<Self> {
        let machine = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        let state = State {
            wall: (now.unwrap_or_else(machine), Duration::ZERO),
            passed: Duration::ZERO,
            is_live: false,
            http: Vec::new(),
            invoke: Vec::new(),
            log: Vec::new(),
            missed: Vec::new(),
        };
        Arc::new(Self { began: Instant::now(), state: Mutex::new(state) })
    }

    /// This world in the form that plugins use; `env` are the environment variables.
    pub(super) fn outside(self: &Arc<Self>, env: BTreeMap<String, String>) -> Outside {
        let world = Arc::clone(self);
        Outside {
            clock: Arc::clone(self) as Arc<dyn Clock>,
            http: Arc::new(move |_| Arc::clone(&world) as Arc<dyn SendHttp>),
            functions: Arc::clone(self) as Arc<dyn CallFunction>,
            log: Arc::clone(self) as Arc<dyn WriteLog>,
            variable: Arc::new(move |name| env.get(name).cloned()),
            gateway: None,
        }
    }

    /// Starts a case: advances the clocks, sets its answers, clears the log.
    pub(super) fn begin(&self, case: &Case) {
        let mut state = self.state.lock();
        state.passed += case.wait.get();
        if let Some(now) = case.now {
            state.wall = (now.0, state.passed);
        }
        state.http.clone_from(&case.http);
        state.invoke.clone_from(&case.invoke);
        state.log.clear();
        state.missed.clear();
    }

    /// Lets the clocks run by themselves from now on, and records nothing.
    pub(super) fn run_live(&self) {
        self.state.lock().is_live = true;
    }

    /// The lines logged since the case started, each after its level.
    pub(super) fn log(&self) -> Vec<String> {
        self.state.lock().log.clone()
    }

    /// A message for each request and call of the plugin for which the case has no answer.
    pub(super) fn missed(&self) -> Vec<String> {
        self.state.lock().missed.clone()
    }

    fn passed(&self) -> Duration {
        let state = self.state.lock();
        if state.is_live { state.passed + self.began.elapsed() } else { state.passed }
    }

    fn miss(&self, what: &str) -> String {
        let message = format!("{what} has no answer in this case");
        let mut state = self.state.lock();
        if !state.is_live {
            state.missed.push(message.clone());
        }
        message
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Clock for World {
    fn now(&self) -> u64 {
        let passed = self.passed();
        let (shown, since) = self.state.lock().wall;
        shown.saturating_add(milliseconds(passed.saturating_sub(since)))
    }

    fn monotonic(&self) -> Duration {
        AHEAD + self.passed()
    }

    fn instant(&self) -> Instant {
        self.began + AHEAD + self.passed()
    }
}

impl SendHttp for World {
    fn send(&self, request: HttpRequest, _: Instant) -> Boxed<Result<HttpResponse, String>> {
        let HttpRequest { method, url, .. } = request;
        let is_same =
            |other: &str| other == url || matches!((Url::parse(other), Url::parse(&url)), (Ok(a), Ok(b)) if a == b);
        let found = {
            let state = self.state.lock();
            state.http.iter().find(|answer| answer.method == method && is_same(&answer.url)).cloned()
        };
        let answer = found.ok_or_else(|| self.miss(&format!("the request {method} {url}")));
        let answer = answer.map(|HttpAnswer { status, headers, body, .. }| {
            let pairs = headers.into_iter().flat_map(|(name, values)| {
                let name = name.to_ascii_lowercase();
                values.0.into_iter().map(move |value| (name.clone(), value))
            });
            HttpResponse { status, headers: pairs.collect(), body: body.into_bytes() }
        });
        Box::pin(std::future::ready(answer))
    }
}

impl CallFunction for World {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let FunctionCall { deployment, function, .. } = call;
        let found = {
            let state = self.state.lock();
            state.invoke.iter().find(|answer| answer.deployment == deployment && answer.function == function).cloned()
        };
        let answer = match found {
            Some(CallAnswer { problem: Some(problem), .. }) => {
                Err(Failure::new(problem.status, problem.code, problem.message))
            }
            Some(CallAnswer { result, result_json, .. }) => {
                Ok(Bytes::from(result.map(|json| json.0).or(result_json).unwrap_or_default()))
            }
            None => {
                let message = self.miss(&format!("the call of {deployment}/{function}"));
                Err(Failure::of_code(Code::DeploymentNotFound, message))
            }
        };
        Box::pin(std::future::ready(answer))
    }
}

impl WriteLog for World {
    fn write(&self, _: &PluginName, _: Option<&str>, level: Level, line: &str) {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let mut state = self.state.lock();
        if !state.is_live {
            state.log.push(format!("{level} {line}"));
        }
    }
}
