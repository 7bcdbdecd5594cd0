//! Makes the input of a hook from a case: the call, its outcome, the release.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::config::{HookName, PluginName};
use crate::invocation::Arguments;
use crate::invocation::times::Times;
use crate::plugin::cases::form::{Call, Case, Ended, Ender, Function, Staged};
use crate::plugin::cases::texts::Texts;
use crate::plugin::headers;
use crate::plugin::host::input::{CallInput, HookInput, OutcomeInput};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::release::{Adjusted, Compared, Files, Limits, Offered, Release, Stage};

/// The default limits of a release: those of a deployment that sets none.
const LIMITS: [(&str, &str); 4] =
    [("timeout", "30s"), ("load_timeout", "60s"), ("concurrency", "64"), ("queue", "256")];

/// The input of the hook that a case calls. `now` is the time on the case's clock; `sharer` is the plugin that has set
/// the context of the case.
pub(super) fn input(case: &Case, hook: HookName, now: Instant, sharer: &PluginName) -> Result<HookInput, String> {
    let staged = |stage| release(case.release.clone().unwrap_or_default(), stage).map(Box::new).map(HookInput::Load);
    match hook {
        HookName::BeforeLoad => staged(Stage::BeforeLoad),
        HookName::AfterLoad => staged(Stage::AfterLoad),
        HookName::BeforeInvoke | HookName::AfterInvoke => {
            let ended = case.outcome.clone().unwrap_or_default();
            let mut call = case.call.clone().unwrap_or_default();
            call.id = call.id.or_else(|| error_field(&ended, "request_id"));
            let call = Box::new(invocation(call, ended.elapsed.get(), now, sharer)?);
            if hook == HookName::BeforeInvoke {
                return Ok(HookInput::BeforeInvoke(CallInput::new(call)));
            }
            Ok(HookInput::AfterInvoke(OutcomeInput::new(call, Box::new(outcome(ended)?))))
        }
    }
}

fn invocation(call: Call, elapsed: Duration, now: Instant, sharer: &PluginName) -> Result<Invocation, String> {
    let text = call.arguments.map(|json| json.0).or(call.arguments_json);
    let arguments = match text {
        Some(text) => Arguments::from_checked(Bytes::from(text)),
        None => Arguments::none(),
    };
    let started = now.checked_sub(elapsed).unwrap_or(now);
    let deadline = now + call.remaining.get();
    let id = call.id.as_deref().unwrap_or("test");
    let mut invocation = Invocation::new(id, call.deployment, &call.function, arguments, deadline);
    invocation.started = started;
    invocation.version = Cow::Owned(call.version);
    invocation.method = call.method.into();
    invocation.peer = call.peer;
    invocation.headers = headers_of(&call.headers)?;
    let plain = call.context.into_iter().map(|(key, json)| (key, json.0));
    for (key, json) in plain.chain(call.context_json) {
        invocation.context.share(&key, &json, sharer.clone());
    }
    Ok(invocation)
}

fn outcome(ended: Ended) -> Result<Outcome, String> {
    let message_in_body = error_field(&ended, "message");
    let Ended { source, status, code, message, headers, body, body_json, elapsed: _, in_worker } = ended;
    let body = body.map(|json| json.0).or(body_json);
    let plain_failure = code.is_none() && body.is_none() && source == Ender::FunctionError;
    let code = code.or(plain_failure.then(|| "function_error".to_owned()));
    let status = status.unwrap_or(if code.is_some() { 500 } else { 200 });
    let content = match code {
        Some(code) => Content::Problem {
            code: code.into(),
            message: message.or(message_in_body).unwrap_or_default(),
            detail: None,
        },
        None => Content::Result(body.unwrap_or_default().into()),
    };
    let source = match source {
        Ender::Function => Source::Function,
        Ender::FunctionError => Source::FunctionError,
        Ender::Plugin => Source::Plugin,
        Ender::Gateway => Source::Gateway,
    };
    let headers = headers_of(&headers)?.into_iter();
    let mut name = None;
    let headers = headers.filter_map(|(next, value)| {
        name = next.or_else(|| name.clone());
        Some((name.clone()?, value))
    });
    let times = Times { worker: Some(in_worker.get()), ..Times::default() };
    Ok(Outcome { source, status, content, headers: headers.collect(), times })
}

/// A text field of the error in the body of an outcome.
fn error_field(ended: &Ended, key: &str) -> Option<String> {
    let body = ended.body.as_ref().map(|json| &json.0).or(ended.body_json.as_ref())?;
    serde_json::from_str::<Value>(body).ok()?["error"][key].as_str().map(str::to_owned)
}

pub(super) fn release(staged: Staged, stage: Stage) -> Result<Release, String> {
    let mut limits = widest();
    let given = |name: &str| staged.limits.get(name).map(|word| word.0.as_str());
    for (name, default) in LIMITS {
        limits.tighten(name, given(name).unwrap_or(default))?;
    }
    for (name, value) in staged.limits.iter().filter(|(name, _)| LIMITS.iter().all(|(known, _)| known != name)) {
        limits.tighten(name, &value.0)?;
    }
    let offered = |function: Function| {
        let Function { name, parameters, returns, is_async } = function;
        let parameters = parameters.into_iter().map(|parameter| (parameter.name, parameter.kind)).collect();
        (name.clone(), Offered { original: name, parameters, returns, is_async })
    };
    let files: BTreeMap<String, Vec<u8>> =
        staged.files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    Ok(Release {
        deployment: staged.deployment,
        version: staged.version,
        origin: staged.origin,
        runtime: staged.runtime,
        languages: staged.languages,
        files: Arc::new(Files::Given(files)),
        environment: staged.environment,
        stage,
        compared: Compared::Known(staged.changes),
        adjusted: Adjusted {
            environment: BTreeMap::new(),
            limits,
            labels: staged.labels,
            functions: staged.functions.into_iter().map(offered).collect(),
        },
    })
}

/// The value of a limit in the form in which the gateway writes it.
pub(super) fn limit(name: &str, value: &str) -> Result<String, String> {
    let mut limits = widest();
    limits.tighten(name, value)?;
    let written = limits.pairs().into_iter().find(|(known, _)| known == name);
    written.map(|(_, value)| value).ok_or_else(|| format!("{name:?} is not a limit"))
}

const fn widest() -> Limits {
    Limits {
        timeout: Duration::MAX,
        load_timeout: Duration::MAX,
        concurrency: u32::MAX,
        queue: u32::MAX,
        max_memory: None,
    }
}

pub(super) fn headers_of(given: &BTreeMap<String, Texts>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, Texts(values)) in given {
        for value in values {
            let (name, value): (HeaderName, HeaderValue) = headers::header(name, value)?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}
