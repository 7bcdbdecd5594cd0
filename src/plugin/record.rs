//! Records live hook calls as cases of `metagate plugin test`, one JSON object a line: to the file that the
//! configuration names, and to the recording that an operator has started.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::config::{HookName, PluginName};
use crate::plugin::fault::Fault;
use crate::plugin::invocation::Invocation;
use crate::plugin::live_recording::{LiveRecording, RecordedCase};
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::record_file::RecordFile;
use crate::plugin::release::{Limits, Release};
use crate::plugin::verdict::{CallVerdict, LoadVerdict};

/// Records hook calls.
#[derive(Default)]
pub struct Recorder {
    file: Option<RecordFile>,
    /// The recording that an operator has started.
    pub live: LiveRecording,
}

impl Recorder {
    /// Appends to the file at `path`, if there is one.
    pub fn start(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self { file: path.map(RecordFile::open).transpose()?, live: LiveRecording::default() })
    }

    /// Whether hook calls are recorded.
    pub(super) fn is_on(&self) -> bool {
        self.file.is_some() || self.live.is_on()
    }

    /// Whether it writes a file.
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Hook calls that were not written to the file because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.file.as_ref().map_or(0, RecordFile::dropped)
    }

    pub(super) fn before_invoke(
        &self,
        plugin: &PluginName,
        before: &Invocation,
        after: &Invocation,
        verdict: &Result<CallVerdict, Fault>,
    ) {
        let Some(mut expect) = expectation(verdict, expected_call) else { return };
        if matches!(verdict, Ok(CallVerdict::Proceed)) {
            expect.insert("arguments_json".into(), text(after.arguments.as_json()));
            expect.insert("call_headers".into(), changed_headers(&before.headers, &after.headers));
            expect.insert("context_json".into(), context(after, plugin));
        }
        let call = call(before, plugin, Instant::now());
        let case = json!({
            "name": name(before), "now": wall_clock(), "hook": "before-invoke", "call": call, "expect": expect,
        });
        self.take(&case);
    }

    pub(super) fn after_invoke(
        &self,
        plugin: &PluginName,
        invocation: &Invocation,
        before: &Outcome,
        after: &Outcome,
        verdict: &Result<(), Fault>,
    ) {
        let Some(mut expect) = expectation(verdict, |()| ("done", Map::new())) else { return };
        if verdict.is_ok() {
            expect.extend(outcome(after));
        }
        let mut given = outcome(before);
        given.insert("source".into(), source(before.source).into());
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(invocation.started);
        given.insert("elapsed".into(), span(elapsed));
        given.insert("in_worker".into(), span(before.times.in_worker()));
        let call = call(invocation, plugin, now);
        let case = json!({
            "name": name(invocation), "now": wall_clock(), "hook": "after-invoke", "call": call,
            "outcome": given, "expect": expect,
        });
        self.take(&case);
    }

    pub(super) fn load(&self, hook: HookName, before: &Release, after: &Release, verdict: &Result<LoadVerdict, Fault>) {
        let Some(mut expect) = expectation(verdict, expected_load) else { return };
        if matches!(verdict, Ok(LoadVerdict::Accept)) {
            let (given, adjusted) = (&before.adjusted, &after.adjusted);
            // Values that earlier hooks have set are not results of this hook.
            let mut changed = |key: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>| {
                let new = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
                let new: Map<String, Value> = new.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
                if !new.is_empty() {
                    expect.insert(key.into(), new.into());
                }
            };
            changed("environment", &given.environment, &adjusted.environment);
            changed("labels", &given.labels, &adjusted.labels);
            let limits = |limits: &Limits| limits.pairs().into_iter().collect();
            changed("limits", &limits(&given.limits), &limits(&adjusted.limits));
            if hook == HookName::AfterLoad {
                expect.insert("functions".into(), json!(adjusted.functions.keys().collect::<Vec<_>>()));
            }
        }
        let functions = before.adjusted.functions.iter().map(|(name, offered)| {
            let parameters = offered.parameters.iter().map(|(name, kind)| json!({ "name": name, "kind": kind }));
            json!({
                "name": name, "parameters": parameters.collect::<Vec<_>>(), "returns": offered.returns,
                "is_async": offered.is_async,
            })
        });
        let limits: Map<String, Value> =
            before.adjusted.limits.pairs().into_iter().map(|(name, value)| (name, value.into())).collect();
        let files: Map<String, Value> = before.files.list().into_iter().map(|path| (path, "".into())).collect();
        let case = json!({
            "name": before.deployment, "now": wall_clock(), "hook": hook.as_str(),
            "release": {
                "deployment": before.deployment, "version": before.version, "origin": before.origin,
                "runtime": before.runtime, "languages": before.languages, "files": files,
                "environment": before.all_variables(), "limits": limits, "labels": before.adjusted.labels,
                "functions": functions.collect::<Vec<_>>(), "changes": before.changes(),
            },
            "expect": expect,
        });
        self.take(&case);
    }

    fn take(&self, case: &Value) {
        let line = case.to_string();
        if self.live.is_on() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (name, hook, verdict) = (text(&case["name"]), text(&case["hook"]), text(&case["expect"]["verdict"]));
            self.live.add(|| RecordedCase { name, hook, verdict, line: line.clone() });
        }
        if let Some(file) = &self.file {
            file.take(line);
        }
    }
}

/// The name of the case of a call: `text/excerpt 01J…`.
fn name(call: &Invocation) -> String {
    format!("{}/{} {}", call.deployment, call.function, call.id)
}

/// The time, so that values in the store expire in a replay when they did in the recording.
fn wall_clock() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// The `expect` table of a case, with the fields that `of` gives for a verdict; `None` if the hook did not run, or
/// could not because of others.
fn expectation<V>(
    verdict: &Result<V, Fault>,
    of: impl FnOnce(&V) -> (&'static str, Map<String, Value>),
) -> Option<Map<String, Value>> {
    let (name, mut expect) = match verdict {
        Ok(verdict) => of(verdict),
        Err(
            Fault::Open(_)
            | Fault::Overloaded
            | Fault::NoMemory
            | Fault::Panicked
            | Fault::ProcessEnded(_)
            | Fault::NoProcess,
        ) => return None,
        Err(Fault::Trap(_) | Fault::TimedOut(_) | Fault::BadOutput(_) | Fault::Refused(_)) => ("fault", Map::new()),
    };
    expect.insert("verdict".into(), name.into());
    Some(expect)
}

fn expected_call(verdict: &CallVerdict) -> (&'static str, Map<String, Value>) {
    match verdict {
        CallVerdict::Proceed => ("proceed", Map::new()),
        CallVerdict::Respond(given) => ("respond", outcome(given)),
        CallVerdict::Reject(failure) => {
            let mut expect = Map::new();
            expect.insert("status".into(), failure.status.into());
            expect.insert("code".into(), (&*failure.code).into());
            expect.insert("message".into(), failure.message.as_str().into());
            expect.insert("headers".into(), headers(failure.headers.iter().map(|(name, value)| (name, value))));
            ("reject", expect)
        }
    }
}

fn expected_load(verdict: &LoadVerdict) -> (&'static str, Map<String, Value>) {
    match verdict {
        LoadVerdict::Accept => ("accept", Map::new()),
        LoadVerdict::Refuse(reason) => {
            ("refuse", [("message".to_owned(), Value::from(reason.as_str()))].into_iter().collect())
        }
    }
}

fn call(call: &Invocation, plugin: &PluginName, now: Instant) -> Value {
    json!({
        "id": &*call.id, "deployment": call.deployment, "version": &*call.version, "function": &*call.function,
        "method": &*call.method, "peer": call.peer.to_canonical().to_string(), "headers": headers(call.headers.iter()),
        "arguments_json": text(call.arguments.as_json()), "context_json": context(call, plugin),
        "remaining": span(call.deadline.saturating_duration_since(now)),
    })
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Function => "function",
        Source::FunctionError => "function-error",
        Source::Plugin => "plugin",
        Source::Gateway => "gateway",
    }
}

fn span(time: Duration) -> Value {
    format!("{}us", time.as_micros()).into()
}

fn outcome(outcome: &Outcome) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("status".into(), outcome.status.into());
    match &outcome.content {
        Content::Stream(..) => {}
        Content::Result(body) | Content::Answer(body) => drop(map.insert("body_json".into(), text(body))),
        Content::Problem { code, message, detail: _ } => {
            map.insert("code".into(), (&**code).into());
            map.insert("message".into(), message.as_str().into());
        }
    }
    map.insert("headers".into(), headers(outcome.headers.iter().map(|(name, value)| (name, value))));
    map
}

/// The values that are text, by name; a list if a header has several.
fn headers<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        match all.get_mut(name.as_str()) {
            None => drop(all.insert(name.as_str().to_owned(), value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
        }
    }
    Value::Object(all)
}

/// The headers that a hook changed or removed.
fn changed_headers(before: &HeaderMap, after: &HeaderMap) -> Value {
    let is_same = |name: &HeaderName| before.get_all(name).iter().eq(after.get_all(name).iter());
    let Value::Object(mut changed) = headers(after.iter().filter(|(name, _)| !is_same(name))) else {
        return Value::Null;
    };
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        changed.insert(name.as_str().to_owned(), false.into());
    }
    Value::Object(changed)
}

/// The context values that the plugin sees, each as JSON text.
fn context(call: &Invocation, plugin: &PluginName) -> Value {
    let keys = call.context.seen_by(plugin).map(|(key, _)| key);
    let values = keys.filter_map(|key| Some((key.to_owned(), call.context.get(key, plugin)?.into())));
    Value::Object(values.collect())
}

fn text(json: &[u8]) -> Value {
    String::from_utf8_lossy(json).into_owned().into()
}
