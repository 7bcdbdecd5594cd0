//! The inputs of hooks as they cross to the process of a plugin, and the verdicts that come back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::{ArgumentFault, Detail};
use crate::clock;
use crate::config::PluginName;
use crate::deployment::DeploymentName;
use crate::invocation::Arguments;
use crate::invocation::stream::StreamFormat;
use crate::invocation::times::Times;
use crate::plugin::apart::message::{
    Headers, Input, SentCall, SentContent, SentFunction, SentOutcome, SentRelease, SentSource, SentValue,
};
use crate::plugin::held_stream::HeldStream;
use crate::plugin::host::input::{CallInput, HookInput, OutcomeInput};
use crate::plugin::invocation::{Context, Invocation};
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::release::{Adjusted, Compared, DistantFiles, Files, Limits, Offered, Release, Stage};

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("an input that cannot be read: {0}")]
pub(crate) struct BadInput(String);

fn bad(what: &str) -> BadInput {
    BadInput(what.to_owned())
}

/// Microseconds, for a message.
pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl From<(String, String, PluginName, bool)> for SentValue {
    fn from((key, value, owner, shared): (String, String, PluginName, bool)) -> Self {
        Self { key, value, owner, shared }
    }
}

impl SentValue {
    fn into_parts(self) -> (String, String, PluginName, bool) {
        (self.key, self.value, self.owner, self.shared)
    }
}

/// Every byte of a value as one character: a value need not be text.
fn sent_headers<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Headers {
    let value = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers.map(|(name, text)| (name.as_str().to_owned(), value(text))).collect()
}

/// The headers of an answer, which a plugin has set as text.
pub(crate) fn answer_headers(headers: &[(HeaderName, HeaderValue)]) -> Headers {
    sent_headers(headers.iter().map(|(name, value)| (name, value)))
}

fn received_headers(headers: Headers) -> Result<Vec<(HeaderName, HeaderValue)>, BadInput> {
    let received = headers.into_iter().map(|(name, value)| {
        let value: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(&value?).ok()?))
    });
    received.collect::<Option<_>>().ok_or_else(|| bad("headers"))
}

/// A call for the process of `plugin`.
pub(crate) fn call(call: &Invocation, plugin: &PluginName) -> SentCall {
    SentCall {
        id: call.id.to_string(),
        deployment: call.deployment.as_str().to_owned(),
        version: call.version.to_string(),
        function: call.function.to_string(),
        method: call.method.to_string(),
        peer: call.peer,
        headers: sent_headers(call.headers.iter()),
        arguments: call.arguments.as_json().len(),
        started: microseconds(clock::since(call.started)),
        deadline: microseconds(call.deadline.saturating_duration_since(clock::now())),
        context: call.context.sent_to(plugin).map(SentValue::from).collect(),
        callers: call.callers.clone(),
    }
}

/// An outcome, and its body.
pub(crate) fn outcome(outcome: &Outcome) -> (SentOutcome, &[u8]) {
    let (content, body) = match &outcome.content {
        Content::Result(body) => (SentContent::Result, &body[..]),
        Content::Answer(body) => (SentContent::Answer, &body[..]),
        // Its content stays here until a hook asks for it.
        Content::Stream(held, _) => (SentContent::Stream { is_answer: held.is_answer() }, &[][..]),
        Content::Problem { code, message, detail } => {
            let (mut payload, mut argument) = (None, None);
            match detail {
                None => {}
                Some(Detail::Payload(json)) => payload = Some(String::from_utf8_lossy(json).into_owned()),
                Some(Detail::Argument(fault)) => argument = serde_json::to_value(fault).ok(),
            }
            (SentContent::Problem { code: code.to_string(), message: message.clone(), payload, argument }, &[][..])
        }
    };
    let source = match outcome.source {
        Source::Function => SentSource::Function,
        Source::FunctionError => SentSource::FunctionError,
        Source::Plugin => SentSource::Plugin,
        Source::Gateway => SentSource::Gateway,
    };
    let headers = answer_headers(&outcome.headers);
    let in_worker = microseconds(outcome.times.in_worker());
    (SentOutcome { source, status: outcome.status, content, headers, in_worker }, body)
}

/// A release. Its files stay here.
pub(crate) fn release(release: &Release) -> SentRelease {
    let Adjusted { environment, limits, labels, functions } = &release.adjusted;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let function = |offered: &Offered| SentFunction {
        original: offered.original.clone(),
        parameters: offered.parameters.clone(),
        returns: offered.returns.clone(),
        is_async: offered.is_async,
    };
    SentRelease {
        deployment: release.deployment.clone(),
        version: release.version.clone(),
        origin: release.origin.clone(),
        runtime: release.runtime.clone(),
        languages: release.languages.clone(),
        environment: release.environment.clone(),
        is_loaded: release.stage == Stage::AfterLoad,
        set_environment: environment.clone(),
        limits: (milliseconds(limits.timeout), milliseconds(limits.load_timeout), limits.concurrency, limits.queue),
        max_memory: limits.max_memory,
        labels: labels.clone(),
        functions: functions.iter().map(|(name, offered)| (name.clone(), function(offered))).collect(),
        changes: release.changes(),
    }
}

/// The input of a hook in the process of a plugin. `files` are those of the release.
pub(crate) fn received(input: Input, bytes: &Bytes, files: Box<dyn DistantFiles>) -> Result<HookInput, BadInput> {
    Ok(match input {
        Input::BeforeInvoke(call) => HookInput::BeforeInvoke(CallInput::new(received_call(call, bytes)?.0)),
        Input::AfterInvoke(call, outcome) => {
            let (call, body) = received_call(call, bytes)?;
            HookInput::AfterInvoke(OutcomeInput::new(call, Box::new(received_outcome(outcome, body)?)))
        }
        Input::Load(release) => HookInput::Load(Box::new(received_release(*release, files))),
    })
}

/// A call, and the bytes after its arguments.
fn received_call(sent: SentCall, bytes: &Bytes) -> Result<(Box<Invocation>, Bytes), BadInput> {
    if sent.arguments > bytes.len() {
        return Err(bad("arguments"));
    }
    let (arguments, rest) = (bytes.slice(..sent.arguments), bytes.slice(sent.arguments..));
    let now = Instant::now();
    let deadline = now.checked_add(Duration::from_micros(sent.deadline)).ok_or_else(|| bad("deadline"))?;
    let deployment = DeploymentName::new(&sent.deployment).map_err(|_| bad("deployment"))?;
    let arguments = Arguments::from_checked(arguments);
    let mut call = Invocation::new(&sent.id, deployment, &sent.function, arguments, deadline);
    call.version = Cow::Owned(sent.version);
    call.method = sent.method.into();
    call.peer = sent.peer;
    call.started = now.checked_sub(Duration::from_micros(sent.started)).unwrap_or(now);
    call.context = Context::received(sent.context.into_iter().map(SentValue::into_parts));
    call.callers = sent.callers;
    let mut headers = HeaderMap::new();
    for (name, value) in received_headers(sent.headers)? {
        headers.append(name, value);
    }
    call.headers = headers;
    Ok((Box::new(call), rest))
}

fn received_outcome(sent: SentOutcome, body: Bytes) -> Result<Outcome, BadInput> {
    let source = match sent.source {
        SentSource::Function => Source::Function,
        SentSource::FunctionError => Source::FunctionError,
        SentSource::Plugin => Source::Plugin,
        SentSource::Gateway => Source::Gateway,
    };
    let content = match sent.content {
        SentContent::Result => Content::Result(body),
        SentContent::Answer => Content::Answer(body),
        SentContent::Stream { is_answer } => Content::Stream(HeldStream::in_gateway(is_answer), StreamFormat::Array),
        SentContent::Problem { code, message, payload, argument } => {
            let payload = payload.map(|json| Detail::Payload(json.into()));
            let argument = argument.map(serde_json::from_value::<ArgumentFault>).transpose();
            let argument = argument.map_err(|_| bad("argument"))?.map(|fault| Detail::Argument(Box::new(fault)));
            Content::Problem { code: Cow::Owned(code), message, detail: payload.or(argument) }
        }
    };
    let times = Times { worker: Some(Duration::from_micros(sent.in_worker)), ..Times::default() };
    Ok(Outcome { source, status: sent.status, content, headers: received_headers(sent.headers)?, times })
}

fn received_release(sent: SentRelease, files: Box<dyn DistantFiles>) -> Release {
    let function = |sent: SentFunction| Offered {
        original: sent.original,
        parameters: sent.parameters,
        returns: sent.returns,
        is_async: sent.is_async,
    };
    let (timeout, load_timeout, concurrency, queue) = sent.limits;
    let limits = Limits {
        timeout: Duration::from_millis(timeout),
        load_timeout: Duration::from_millis(load_timeout),
        concurrency,
        queue,
        max_memory: sent.max_memory,
    };
    Release {
        deployment: sent.deployment,
        version: sent.version,
        origin: sent.origin,
        runtime: sent.runtime,
        languages: sent.languages,
        files: Arc::new(Files::InGateway(files)),
        environment: sent.environment,
        stage: if sent.is_loaded { Stage::AfterLoad } else { Stage::BeforeLoad },
        compared: Compared::Known(sent.changes),
        adjusted: Adjusted {
            environment: sent.set_environment,
            limits,
            labels: sent.labels,
            functions: sent.functions.into_iter().map(|(name, sent)| (name, function(sent))).collect(),
        },
    }
}
