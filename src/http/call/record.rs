//! What is counted and logged of a call: begun once its deployment is known, ended with its answer or, for a stream,
//! with the end of the stream. A call whose client has left counts as well.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Body, SizeHint};

use crate::answer::code::Code;
use crate::clock;
use crate::deployment::{DeploymentName, HTTP_FUNCTION, Takes};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::counted::{self, Counted};
use crate::http::call::call_end::{Begun, Keeping};
use crate::http::call::call_head::CallHead;
use crate::http::call::lookup::Client;
use crate::http::call::observers::Observed;
use crate::http::call::recorded_stream::{Recorded, RecordedStream};
use crate::http::call::server_timing;
use crate::http::problem::{ERROR_HEADER, Problem, SERVER_TIMING};
use crate::http::recent_calls::{self, CallOf};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::invocation::Arguments;
use crate::invocation::times::Times;
use crate::metrics::calls::Ended;
use crate::plugin::outcome::{Content, Outcome};
use crate::registry::Deployment;
use crate::traces::timeline::Timeline;

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
    method: Method,
    /// The path, where calls are kept and it says more than the function.
    path: Option<Box<str>>,
    /// When the request had been read.
    read: Option<Instant>,
    /// None where nothing is counted or logged, or when it has ended.
    begun: Option<Begun>,
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
        let keeps = client.observers.recent.is_some();
        let is_recorded = keeps || deployment.calls.is_some() || observed.is_some() || client.observers.server_timing;
        let timeline = observed.as_ref().and_then(|observed| observed.timeline());
        let begun = is_recorded.then(|| Begun { at: clock::now(), observed, timeline });
        let says_more = keeps && (function == HTTP_FUNCTION || client.route.is_some());
        Self {
            times: Times::default(),
            request_bytes: 0,
            announced: body.exact().unwrap_or(0),
            streams_since: None,
            client,
            deployment,
            function,
            method: head.method.clone(),
            path: says_more.then(|| recent_calls::kept_path(head.uri.path())),
            read: None,
            begun,
        }
    }

    /// The call that the request makes, from now on: it has been read. Takes the headers and the address out of the
    /// head.
    pub fn call<'b>(&mut self, takes: Takes, arguments: Arguments, head: &'b mut Parts) -> Call<'b>
    where
        'a: 'b,
    {
        let Self { client, deployment, function, .. } = *self;
        let Some(begun) = &mut self.begun else {
            return client.call(deployment, function, takes, arguments, head);
        };
        if let Some(observed) = &begun.observed {
            observed.set_headers(begun.timeline.as_ref(), &mut head.headers);
        }
        // Without plugins, the times of its parts are enough to say when each began.
        if begun.timeline.is_none() && client.observers.recent.is_some() && deployment.has_chains() {
            begun.timeline = Some(Timeline::new(None));
        }
        let call = client.call(deployment, function, takes, arguments, head);
        self.read = Some(call.started);
        Call { timeline: begun.timeline.clone(), ..call }
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
            Ok(response) if self.method != Method::HEAD && response.body().size_hint().exact().is_none() => {
                Ok(self.end_with_stream(begun, response))
            }
            Ok(response) => {
                let length = response.body().size_hint().exact().unwrap_or(0);
                let answer_bytes = if self.method == Method::HEAD { 0 } else { length };
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
        let counted = self.counted();
        let recent = self.client.observers.recent.as_ref();
        let is_kept = recent.is_some_and(|all| all.takes(&self.deployment.name, &ended, begun.at + ended.duration));
        let keeping = if is_kept { self.keeping(counted.as_ref(), begun.at) } else { None };
        begun.end(counted.as_ref(), ended, keeping);
    }

    fn counted(&self) -> Option<Counted> {
        Counted::of(self.deployment, self.function)
    }

    /// What is kept of the call, which began at this time.
    fn keeping(&self, counted: Option<&Counted>, begun: Instant) -> Option<Keeping> {
        let recent = self.client.observers.recent.as_ref()?;
        let Self { deployment, function: called, .. } = *self;
        let function = match counted {
            Some(counted) => counted.function().map(Into::into),
            None => counted::own_name(deployment, called),
        };
        let is_own = function.as_deref() == Some(called);
        let of = CallOf {
            id: request_id::text(self.client.id).into(),
            deployment: Some(deployment.name.clone()),
            release: deployment.stored().map(|stored| stored.number),
            function,
            called: (!is_own).then(|| recent_calls::kept_name(called)),
            method: self.method.clone(),
            path: self.path.clone(),
            begun,
            read: self.read.map(|read| read.saturating_duration_since(begun)),
        };
        Some((Arc::clone(recent), of))
    }

    fn end_with_stream(&self, begun: Begun, response: Response<ReplyBody>) -> Response<ReplyBody> {
        let counted = self.counted();
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
            keeping: self.keeping(counted.as_ref(), begun.at),
            counted,
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
        let timeline = observed.as_ref().and_then(|observed| observed.timeline());
        let begun = Begun { at: clock::now(), observed, timeline };
        let keeping = self.keeping(counted.as_ref().and_then(Counted::function), deployment, begun.at);
        begun.end(counted.as_ref(), ended, keeping);
    }

    fn keeping(self, function: Option<&str>, deployment: Option<&Deployment>, begun: Instant) -> Option<Keeping> {
        let Self { client, function: called, head } = self;
        let recent = client.observers.recent.as_ref()?;
        let of = CallOf {
            id: request_id::text(client.id).into(),
            deployment: deployment.map(|deployment| deployment.name.clone()),
            release: deployment.and_then(Deployment::stored).map(|stored| stored.number),
            function: function.map(Into::into),
            called: (function != Some(called)).then(|| recent_calls::kept_name(called)),
            method: head.method.clone(),
            path: Some(recent_calls::kept_path(head.uri.path())),
            begun,
            read: None,
        };
        Some((Arc::clone(recent), of))
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
    let kept = || CallHead::new(client.id, client.connection, client.route, head, deployment, function);
    Some(client.observers.begin(head, kept))
}

/// The code of an error; empty for any other answer.
fn code_of(response: &Response<ReplyBody>) -> Cow<'static, str> {
    if response.status().is_success() {
        return "".into();
    }
    let code = response.headers().get(ERROR_HEADER).and_then(|code| code.to_str().ok());
    code.map_or_else(|| "".into(), |code| code.to_owned().into())
}
