//! What is counted and logged of a call: begun once its deployment is known, ended with its answer or, for a stream,
//! with the end of the stream. A call whose client has left counts as well.

use std::borrow::Cow;
use std::mem;
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
use crate::deployment::{DeploymentName, Takes};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::counted::Counted;
use crate::http::call::call_head::CallHead;
use crate::http::call::lookup::Client;
use crate::http::call::observers::Observed;
use crate::http::call::{server_timing, stream_body};
use crate::http::problem::{ERROR_HEADER, Problem, SERVER_TIMING};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::invocation::Arguments;
use crate::invocation::times::Times;
use crate::metrics::calls::Ended;
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

/// What of a call in progress outlives its request.
struct Begun {
    at: Instant,
    /// None without observers.
    observed: Option<Box<Observed>>,
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
        let observed = observe(client, head, Some(&deployment.name), function);
        let is_recorded = deployment.calls.is_some() || observed.is_some() || client.observers.server_timing;
        let begun = is_recorded.then(|| Begun { at: clock::now(), observed });
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

    /// The call that the request makes, from now on: it has been read. Takes the headers and the address out of the
    /// head.
    pub fn call<'b>(&self, takes: Takes, arguments: Arguments, head: &'b mut Parts) -> Call<'b>
    where
        'a: 'b,
    {
        let Self { client, deployment, function, .. } = *self;
        let Some(observed) = self.begun.as_ref().and_then(|begun| begun.observed.as_ref()) else {
            return client.call(deployment, function, takes, arguments, head);
        };
        observed.set_headers(&mut head.headers);
        Call { timeline: observed.timeline().cloned(), ..client.call(deployment, function, takes, arguments, head) }
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
        let answered = if self.client.observers.server_timing { self.timed(begun.at, answered) } else { answered };
        if self.request_bytes == 0 && answered.is_ok() {
            // A body that was taken in pieces has been checked against the limits.
            self.request_bytes = self.announced;
        }
        match answered {
            Ok(response) if !self.is_head && response.body().size_hint().exact().is_none() => {
                Ok(self.end_with_stream(begun, response))
            }
            Ok(response) => {
                let answer_bytes = if self.is_head { 0 } else { response.body().size_hint().exact().unwrap_or(0) };
                self.record(begun, response.status(), code_of(&response), answer_bytes);
                Ok(response)
            }
            Err(problem) => {
                let answer_bytes = problem.body(request_id::text(self.client.id)).len() as u64;
                self.record(begun, problem.status(), problem.code().as_str().into(), answer_bytes);
                Err(problem)
            }
        }
    }

    /// Adds the times of the parts so far to an answer.
    fn timed(
        &self,
        begun: Instant,
        answered: Result<Response<ReplyBody>, Problem>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let timing = server_timing::value(self.times, clock::since(begun));
        match answered {
            Ok(mut response) => {
                // The function may have some of its own.
                response.headers_mut().append(SERVER_TIMING, timing);
                Ok(response)
            }
            Err(problem) => Err(problem.timed(timing)),
        }
    }

    fn record(&self, begun: Begun, status: StatusCode, code: Cow<'static, str>, answer_bytes: u64) {
        let ended = Ended {
            status: status.as_u16(),
            code,
            duration: clock::since(begun.at),
            request_bytes: self.request_bytes,
            answer_bytes,
            times: self.times,
            // A stream that was over before its head was sent.
            stream: self.streams_since.map(clock::since),
        };
        record_ended(Counted::of(self.deployment, self.function).as_ref(), begun, ended);
    }

    fn end_with_stream(&self, begun: Begun, response: Response<ReplyBody>) -> Response<ReplyBody> {
        let ended = Ended {
            status: response.status().as_u16(),
            code: Code::ClientGone.as_str().into(),
            duration: Duration::ZERO,
            request_bytes: self.request_bytes,
            answer_bytes: 0,
            times: self.times,
            stream: None,
        };
        let stream = RecordedStream {
            counted: Counted::of(self.deployment, self.function),
            begun: Some(begun),
            since: self.streams_since.unwrap_or_else(clock::now),
            ended,
        };
        response.map(|body| ReplyBody::Streamed(axum::body::Body::new(Recorded { body, stream })))
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            let code = Code::ClientGone;
            self.record(begun, code.status(), code.as_str().into(), 0);
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
            times: Times::default(),
            stream: None,
        };
        let counted = match deployment {
            Some(deployment) => Counted::of(deployment, function),
            None => gateway.calls().map(|all| Counted::of_nothing(&all.unknown, function)),
        };
        let observed = observe(client, head, deployment.map(|deployment| &deployment.name), function);
        record_ended(counted.as_ref(), Begun { at: clock::now(), observed }, ended);
    }
}

/// Has the observers look at a call, if there are any. `deployment`: none if there is none of the name.
fn observe(
    client: Client<'_>,
    head: &Parts,
    deployment: Option<&DeploymentName>,
    function: &str,
) -> Option<Box<Observed>> {
    if !client.observers.any() {
        return None;
    }
    let call_head = CallHead::new(client.id, client.connection, client.route, head, deployment, function);
    Some(client.observers.begin(&head.headers, call_head))
}

/// Has everything that looks at calls see one that has ended.
fn record_ended(counted: Option<&Counted>, begun: Begun, ended: Ended) {
    if let Some(counted) = counted {
        counted.add(&ended);
    }
    if let Some(observed) = begun.observed {
        observed.end(begun.at, ended);
    }
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
    counted: Option<Counted>,
    /// None once it has ended.
    begun: Option<Begun>,
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
        let Some(begun) = self.begun.take() else { return };
        let (code, now) = (mem::take(&mut self.ended.code), clock::now());
        let stream = Some(now.saturating_duration_since(self.since));
        let duration = now.saturating_duration_since(begun.at);
        record_ended(self.counted.as_ref(), begun, Ended { code, duration, stream, ..self.ended });
    }
}
