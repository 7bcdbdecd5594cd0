//! What is counted and logged of a call: begun once its deployment is known, ended with its answer or, for a stream,
//! with the end of the stream. A call whose client has left counts as well.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::answer::code::Code;
use crate::clock;
use crate::gateway::Gateway;
use crate::http::access_log::Entry;
use crate::http::call::lookup::Client;
use crate::http::call::stream_body;
use crate::http::problem::{ERROR_HEADER, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::invocation::times::Times;
use crate::metrics::calls::{DeploymentCalls, Ended, FunctionCalls};
use crate::plugin::outcome::{Content, Outcome};
use crate::registry::Deployment;

/// A call in progress. Dropped before its end, it counts as one whose client has left.
pub struct CallRecord<'a> {
    times: Times,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of it that the client has announced.
    announced: u64,
    /// When the function answered with a stream.
    streams_since: Option<Instant>,
    client: Client<'a>,
    /// Its deployment.
    pub deployment: &'a Arc<Deployment>,
    /// The name that the caller used.
    pub function: &'a str,
    /// The answer to HEAD has no body, even of a stream.
    is_head: bool,
    /// None where nothing is counted or logged, or when it has ended.
    begun: Option<Begun>,
}

struct Begun {
    at: Instant,
    entry: Option<Box<Entry>>,
}

impl<'a> CallRecord<'a> {
    /// A call of a function that begins now, with a body of this size if that is known.
    #[must_use]
    pub fn begin(
        client: Client<'a>,
        deployment: &'a Arc<Deployment>,
        function: &'a str,
        head: &Parts,
        body: &SizeHint,
    ) -> Self {
        let entry = client.log_entry(head, Some(&deployment.name), function);
        let is_recorded = deployment.calls.is_some() || entry.is_some();
        let begun = is_recorded.then(|| Begun { at: clock::now(), entry });
        let (announced, is_head) = (body.exact().unwrap_or(0), head.method == Method::HEAD);
        Self {
            times: Times::default(),
            request_bytes: 0,
            announced,
            streams_since: None,
            client,
            deployment,
            function,
            is_head,
            begun,
        }
    }

    /// Takes the times of what the call came to.
    pub fn answered(&mut self, outcome: &Outcome) {
        self.times = outcome.times;
        if self.begun.is_some() && matches!(outcome.content, Content::Stream(..)) {
            self.streams_since = Some(clock::now());
        }
    }

    /// Records the call, with this answer; if that is a stream, when it ends.
    ///
    /// # Errors
    ///
    /// The problem that it got.
    pub fn end(mut self, answered: Result<Response<ReplyBody>, Problem>) -> Result<Response<ReplyBody>, Problem> {
        let Some(begun) = self.begun.take() else { return answered };
        if self.request_bytes == 0 && answered.is_ok() {
            // A body that was taken in pieces has been checked against the limits.
            self.request_bytes = self.announced;
        }
        match answered {
            Ok(response) if !self.is_head && response.body().size_hint().exact().is_none() => {
                Ok(self.end_with_stream(begun, response))
            }
            Ok(response) => {
                let code = code_of(&response);
                let answer_bytes = if self.is_head { 0 } else { response.body().size_hint().exact().unwrap_or(0) };
                self.record(&begun, response.status(), code, answer_bytes);
                Ok(response)
            }
            Err(problem) => {
                let answer_bytes = problem.body(request_id::text(self.client.id)).len() as u64;
                self.record(&begun, problem.status(), problem.code().as_str().into(), answer_bytes);
                Err(problem)
            }
        }
    }

    fn record(&self, begun: &Begun, status: StatusCode, code: Cow<'static, str>, answer_bytes: u64) {
        let (status, request_bytes) = (status.as_u16(), self.request_bytes);
        let ended = Ended { status, code, duration: clock::since(begun.at), request_bytes, answer_bytes };
        // A stream that was over before its head was sent.
        let streamed = self.streams_since.map(clock::since);
        if let Some(calls) = &self.deployment.calls {
            self.function_in(calls).add(&ended);
            count_times(calls, self.times);
            if let Some(streamed) = streamed {
                calls.stream.add(streamed);
            }
        }
        if let Some(entry) = &begun.entry {
            entry.end(&ended, self.times, streamed);
        }
    }

    fn function_in(&self, calls: &DeploymentCalls) -> Arc<FunctionCalls> {
        calls.function(self.function, || own_name(self.deployment, self.function))
    }

    fn end_with_stream(&self, begun: Begun, response: Response<ReplyBody>) -> Response<ReplyBody> {
        let counted = self.deployment.calls.as_ref().map(|calls| {
            count_times(calls, self.times);
            (Arc::clone(calls), self.function_in(calls))
        });
        let ended = Ended {
            status: response.status().as_u16(),
            code: Code::ClientGone.as_str().into(),
            duration: Duration::ZERO,
            request_bytes: self.request_bytes,
            answer_bytes: 0,
        };
        let since = self.streams_since.unwrap_or_else(clock::now);
        let stream = RecordedStream { counted, begun, times: self.times, since, ended };
        response.map(|body| ReplyBody::Streamed(axum::body::Body::new(Recorded { body, stream })))
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            let code = Code::ClientGone;
            self.record(&begun, code.status(), code.as_str().into(), 0);
        }
    }
}

/// A request as it is refused by its head alone.
#[derive(Clone, Copy)]
pub struct Refused<'a> {
    /// Who made it.
    pub client: Client<'a>,
    /// The name that the caller used.
    pub function: &'a str,
    /// The head.
    pub head: &'a Parts,
}

impl Refused<'_> {
    /// Records the call. `deployment`: none if there is none of the name.
    pub fn record(self, gateway: &Gateway, deployment: Option<&Deployment>, problem: &Problem) {
        let Self { client, function, head } = self;
        let ended = Ended {
            status: problem.status().as_u16(),
            code: problem.code().as_str().into(),
            duration: Duration::ZERO,
            request_bytes: 0,
            answer_bytes: problem.body(request_id::text(client.id)).len() as u64,
        };
        let known = deployment.and_then(|deployment| Some((deployment, deployment.calls.as_ref()?)));
        match (known, gateway.calls()) {
            (Some((deployment, calls)), _) => calls.function(function, || own_name(deployment, function)).add(&ended),
            (None, Some(all)) => all.unknown.function(function, || None).add(&ended),
            (None, None) => {}
        }
        if let Some(entry) = client.log_entry(head, deployment.map(|deployment| &deployment.name), function) {
            entry.end(&ended, Times::default(), None);
        }
    }
}

fn count_times(calls: &DeploymentCalls, times: Times) {
    if let Some(plugins) = times.plugins {
        calls.plugins.add(plugins);
    }
    if let Some(worker) = times.worker {
        calls.queue.add(times.queue);
        calls.worker.add(worker);
    }
}

/// The name of the function that a caller called by this one, if the release has it.
fn own_name(deployment: &Deployment, called: &str) -> Option<Box<str>> {
    let exports = deployment.pool()?.exports()?;
    let name = exports.aliases.get(called).map_or(called, AsRef::as_ref);
    exports.functions.get(name).map(|function| function.name.clone())
}

/// The code of an error; empty for any other answer.
fn code_of(response: &Response<ReplyBody>) -> Cow<'static, str> {
    if response.status().is_success() {
        return "".into();
    }
    let code = response.headers().get(ERROR_HEADER).and_then(|code| code.to_str().ok());
    code.map_or_else(|| "".into(), |code| code.to_owned().into())
}

/// The body of a streamed answer, whose end is recorded.
struct Recorded {
    body: ReplyBody,
    stream: RecordedStream,
}

struct RecordedStream {
    counted: Option<(Arc<DeploymentCalls>, Arc<FunctionCalls>)>,
    begun: Begun,
    times: Times,
    since: Instant,
    ended: Ended,
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let ended = &mut self.stream.ended;
        match &polled {
            Poll::Ready(Some(Ok(frame))) => ended.answer_bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(error))) => ended.code = stream_body::code_of(error),
            Poll::Ready(None) => ended.code = "".into(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        let now = clock::now();
        let streamed = now.saturating_duration_since(self.since);
        self.ended.duration = now.saturating_duration_since(self.begun.at);
        if let Some((calls, function)) = &self.counted {
            function.add(&self.ended);
            calls.stream.add(streamed);
        }
        if let Some(entry) = &self.begun.entry {
            entry.end(&self.ended, self.times, Some(streamed));
        }
    }
}
