//! Answers what the process of a plugin asks of the gateway: values, counters, files of releases, requests, calls of
//! functions. Each is checked against the grants here, whatever the process has checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::clock;
use crate::config::PluginName;
use crate::invocation::Arguments;
use crate::plugin::apart::frame::LARGE;
use crate::plugin::apart::message::{Answer, Request};
use crate::plugin::held_stream::HeldStream;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::log_line::printable;
use crate::plugin::invocation::check_json;
use crate::plugin::outside::{FunctionCall, HttpRequest, HttpResponse, Level};
use crate::plugin::release::Files;
use crate::plugin::traced;
use crate::traces::timeline::Timeline;

/// How long a request may take that a plugin sends while it loads.
const LOAD_TIME: Duration = Duration::from_secs(5);
/// Longest row of plugins that call functions through one another.
const CALLERS_LIMIT: usize = 4;
/// Longest request id in a line of the log, in bytes.
const ID_SIZE: usize = 128;

/// The hook call that asks.
#[derive(Clone)]
pub(super) struct Asker {
    /// The plugins through which its call comes; none of a load, which cannot call functions.
    pub(super) callers: Option<Vec<PluginName>>,
    /// The files of its release.
    pub(super) files: Option<Arc<Files>>,
    /// The stream that ends its call.
    pub(super) stream: Option<HeldStream>,
    /// What keeps the steps of its call, if something asks for them.
    pub(super) timeline: Option<Arc<Timeline>>,
    /// When its waits end.
    pub(super) deadline: Instant,
}

impl Default for Asker {
    fn default() -> Self {
        Self { callers: None, files: None, stream: None, timeline: None, deadline: clock::now() + LOAD_TIME }
    }
}

/// Answers for the gateway.
pub(super) struct Broker {
    granted: Arc<Granted>,
}

impl Broker {
    pub(super) fn new(granted: Arc<Granted>) -> Self {
        Self { granted }
    }

    /// What the plugin was granted.
    pub(super) fn granted(&self) -> &Granted {
        &self.granted
    }

    pub(super) fn max_body(&self) -> usize {
        self.granted.max_body
    }

    /// Writes a line of the plugin to the log.
    pub(super) fn log(&self, request: Option<&str>, level: u8, line: &str) {
        let level = [Level::Trace, Level::Debug, Level::Info, Level::Warn].get(usize::from(level));
        let request = request.map(|id| printable(&id[..id.floor_char_boundary(ID_SIZE)]));
        let outside = &self.granted.outside;
        outside.log.write(
            &self.granted.plugin,
            request.as_deref(),
            level.copied().unwrap_or(Level::Error),
            &printable(line),
        );
    }

    /// Answers a question of a hook call; none if it is not under way. Returns the answer and its bytes.
    pub(super) async fn answer(&self, asker: Option<Asker>, request: Request, bytes: Bytes) -> (Answer, Bytes) {
        let Some(asker) = asker else {
            return match request {
                Request::Call { .. } => refused(Code::Forbidden, "no such hook call is in progress"),
                _ => failed("no such hook call is in progress"),
            };
        };
        match request {
            Request::Http { method, url, headers, time } => {
                let request = HttpRequest { method, url, headers, body: bytes.to_vec() };
                self.send(asker, request, Duration::from_micros(time)).await
            }
            Request::Call { deployment, function } => self.call(asker, deployment, function, bytes).await,
            Request::Files | Request::File { .. } => {
                let Some(files) = asker.files else { return failed("this hook has no release") };
                let read = tokio::task::spawn_blocking(move || read(&files, request)).await;
                read.unwrap_or_else(|_| failed("the file was not read"))
            }
            Request::Content => self.content(asker).await,
            Request::Count { counter, by } if self.granted.grants.metrics => {
                answer(self.granted.kept.count(&counter, by).map(|()| Answer::Nothing))
            }
            kept if self.granted.grants.store => self.keep(kept, &bytes),
            _ => failed("this is not granted"),
        }
    }

    /// The whole of a stream. The hook keeps it in the gateway too: what it has read, the caller gets.
    async fn content(&self, asker: Asker) -> (Answer, Bytes) {
        let Some(stream) = asker.stream else { return failed("this hook has no stream") };
        let gathering = stream.gather(self.granted.max_body);
        // At the deadline the hook call fails as well.
        let _in_time = tokio::time::timeout_at(asker.deadline.into(), gathering).await;
        match stream.gathered() {
            Some(Ok(content)) => (Answer::Bytes, content),
            Some(Err(Failure { status, code, message, .. })) => {
                (Answer::Problem { status, code: code.into_owned(), message }, Bytes::new())
            }
            None => failed("the stream has been taken"),
        }
    }

    fn keep(&self, request: Request, bytes: &Bytes) -> (Answer, Bytes) {
        let (kept, now) = (&self.granted.kept, self.granted.outside.clock.monotonic());
        answer(match request {
            Request::Get { key } => {
                let value = kept.get(&key, now);
                return value.map_or((Answer::Nothing, Bytes::new()), |value| (Answer::Bytes, value.into()));
            }
            Request::Set { key, ttl } => kept.set(&key, bytes.to_vec(), ttl, now).map(|()| Answer::Nothing),
            Request::Delete { key } => {
                kept.delete(&key);
                Ok(Answer::Nothing)
            }
            Request::Increment { key, by, ttl } => kept.increment(&key, by, ttl, now).map(Answer::Number),
            Request::CompareAndSet { key, old, ttl } => {
                let (before, new) = bytes.split_at(old.unwrap_or(0).min(bytes.len()));
                let before = old.is_some().then_some(before);
                kept.compare_and_set(&key, before, new.to_vec(), ttl, now).map(Answer::WasSet)
            }
            _ => Err("this is not granted".to_owned()),
        })
    }

    async fn send(&self, asker: Asker, request: HttpRequest, time: Duration) -> (Answer, Bytes) {
        let now = clock::now();
        let deadline = now.checked_add(time).map_or(asker.deadline, |asked| asked.min(asker.deadline));
        match traced::send(&*self.granted.http, asker.timeline.as_ref(), request, deadline).await {
            Ok(HttpResponse { status, headers, body }) => (Answer::Response { status, headers }, body.into()),
            Err(reason) => failed(&reason),
        }
    }

    async fn call(&self, asker: Asker, deployment: String, function: String, arguments: Bytes) -> (Answer, Bytes) {
        let Some(mut callers) = asker.callers else {
            return refused(Code::Forbidden, "start cannot call functions");
        };
        if !self.granted.grants.invoke.iter().any(|grant| grant.covers(&deployment, &function)) {
            return refused(Code::Forbidden, "calls of this function are not granted to this plugin");
        }
        if let Err(reason) = self.check(arguments.clone()).await {
            return refused(Code::InvalidJson, &reason);
        }
        if !arguments.trim_ascii_start().starts_with(b"[") || callers.len() >= CALLERS_LIMIT {
            return refused(Code::BadRequest, "arguments must be a JSON array");
        }
        callers.push(self.granted.plugin.clone());
        let Asker { deadline, timeline, .. } = asker;
        let arguments = Arguments::from_checked(arguments);
        let call = FunctionCall { deployment, function, arguments, deadline, callers, timeline };
        let called = self.granted.outside.functions.call(call);
        match tokio::time::timeout_at(deadline.into(), called).await {
            Ok(Ok(result)) => (Answer::Bytes, result),
            Ok(Err(Failure { status, code, message, .. })) => {
                (Answer::Problem { status, code: code.into_owned(), message }, Bytes::new())
            }
            Err(_) => refused(Code::CallTimeout, "no answer before the deadline of the hook call"),
        }
    }

    /// Checks the arguments of a call: long ones on another thread.
    async fn check(&self, arguments: Bytes) -> Result<(), String> {
        let max_body = self.granted.max_body;
        let is_large = arguments.len() > LARGE;
        let check = move || {
            let text = str::from_utf8(&arguments).map_err(|error| error.to_string())?;
            check_json(text, max_body)
        };
        if !is_large {
            return check();
        }
        tokio::task::spawn_blocking(check).await.expect("checking JSON does not panic")
    }
}

fn read(files: &Files, request: Request) -> (Answer, Bytes) {
    match request {
        Request::File { path } => match files.read(&path) {
            Ok(bytes) => (Answer::Bytes, bytes.into()),
            Err(reason) => failed(&reason),
        },
        _ => (Answer::Names(files.list()), Bytes::new()),
    }
}

fn answer(result: Result<Answer, String>) -> (Answer, Bytes) {
    (result.unwrap_or_else(Answer::Failed), Bytes::new())
}

fn failed(reason: &str) -> (Answer, Bytes) {
    (Answer::Failed(reason.to_owned()), Bytes::new())
}

fn refused(code: Code, message: &str) -> (Answer, Bytes) {
    let Failure { status, code, message, .. } = Failure::of_code(code, message);
    (Answer::Problem { status, code: code.into_owned(), message }, Bytes::new())
}
