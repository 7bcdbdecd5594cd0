//! Writes live hook calls down as cases of `metagate plugin test`, one JSON object a line, on a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use http::{HeaderName, HeaderValue};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::{HookName, PluginName};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::plugin::release::Release;
use crate::plugin::run::{Fault, Verdict};

/// Calls that wait to be written; further ones are left out.
const WAITING: usize = 1_024;

/// Takes hook calls down.
pub struct Recorder {
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

impl Recorder {
    /// Appends to this file, which only the gateway's user may read: it holds what callers send, their credentials too.
    pub fn start(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("recorder".to_owned()).spawn(move || write(&waiting, file))?;
        Ok(Self { lines, dropped: AtomicU64::new(0) })
    }

    /// Hook calls that were left out.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn before_invoke(
        &self,
        plugin: &PluginName,
        before: &Invocation,
        after: &Invocation,
        verdict: &Result<Verdict, Fault>,
    ) {
        let mut expect = told(verdict, "proceed");
        if matches!(verdict, Ok(Verdict::Proceed)) {
            expect.insert("arguments_json".into(), text(after.arguments.as_json()));
            expect.insert("context".into(), context(after, plugin));
        }
        let case =
            json!({ "name": &*before.id, "hook": "before-invoke", "call": call(before, plugin), "expect": expect });
        self.take(&case);
    }

    pub(super) fn after_invoke(
        &self,
        plugin: &PluginName,
        invocation: &Invocation,
        before: &Outcome,
        after: &Outcome,
        verdict: &Result<Verdict, Fault>,
    ) {
        let mut expect = told(verdict, "done");
        if verdict.is_ok() {
            expect.extend(outcome(after));
        }
        let mut given = outcome(before);
        let source = match before.source {
            Source::Function => "function",
            Source::FunctionError => "function-error",
            Source::Plugin => "plugin",
            Source::Gateway => "gateway",
        };
        given.insert("source".into(), source.into());
        given.insert("in_worker".into(), format!("{}ms", before.in_worker.as_millis()).into());
        let case = json!({
            "name": &*invocation.id, "hook": "after-invoke", "call": call(invocation, plugin), "outcome": given, "expect": expect,
        });
        self.take(&case);
    }

    pub(super) fn load(&self, hook: HookName, before: &Release, after: &Release, verdict: &Result<Verdict, Fault>) {
        let mut expect = told(verdict, "accept");
        if matches!(verdict, Ok(Verdict::Proceed)) {
            let adjusted = &after.adjusted;
            expect.insert("environment".into(), json!(adjusted.environment));
            expect.insert("labels".into(), json!(adjusted.labels));
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
            "name": before.deployment,
            "hook": hook.as_str(),
            "release": {
                "deployment": before.deployment, "version": before.version, "origin": before.origin,
                "runtime": before.runtime, "languages": before.languages, "files": files,
                "environment": before.environment, "limits": limits, "labels": before.adjusted.labels,
                "functions": functions.collect::<Vec<_>>(),
            },
            "expect": expect,
        });
        self.take(&case);
    }

    fn take(&self, case: &Value) {
        if self.lines.try_send(case.to_string()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(lines: &Receiver<String>, file: File) {
    let mut file = BufWriter::new(file);
    while let Ok(line) = lines.recv() {
        let mut written = writeln!(file, "{line}");
        while let Ok(line) = lines.try_recv() {
            written = written.and_then(|()| writeln!(file, "{line}"));
        }
        if let Err(error) = written.and_then(|()| file.flush()) {
            tracing::error!(%error, "a recording of hook calls cannot be written");
        }
    }
}

fn told(verdict: &Result<Verdict, Fault>, well: &str) -> Map<String, Value> {
    let expect = match verdict {
        Ok(Verdict::Proceed) => json!({ "verdict": well }),
        Ok(Verdict::Respond(given)) => {
            let mut expect = outcome(given);
            expect.insert("verdict".into(), "respond".into());
            Value::Object(expect)
        }
        Ok(Verdict::Reject(failure)) => json!({
            "verdict": "reject", "status": failure.status, "code": failure.code, "message": failure.message,
            "headers": headers(failure.headers.iter().map(|(name, value)| (name, value))),
        }),
        Ok(Verdict::Refuse(reason)) => json!({ "verdict": "refuse", "message": reason }),
        Err(_) => json!({ "verdict": "fault" }),
    };
    match expect {
        Value::Object(expect) => expect,
        _ => Map::new(),
    }
}

fn call(call: &Invocation, plugin: &PluginName) -> Value {
    json!({
        "deployment": call.deployment, "version": call.version, "function": &*call.function, "method": &*call.method,
        "peer": call.peer.to_canonical().to_string(), "headers": headers(call.headers.iter()),
        "arguments_json": text(call.arguments.as_json()), "context": context(call, plugin),
    })
}

fn outcome(outcome: &Outcome) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("status".into(), outcome.status.into());
    match &outcome.content {
        Content::Result(body) => drop(map.insert("body_json".into(), text(body))),
        Content::Problem { code, message } => {
            map.insert("code".into(), (&**code).into());
            map.insert("message".into(), message.as_str().into());
        }
    }
    map.insert("headers".into(), headers(outcome.headers.iter().map(|(name, value)| (name, value))));
    map
}

fn headers<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Value {
    let texts = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::from(value.to_str().ok()?))));
    Value::Object(texts.collect())
}

fn context(call: &Invocation, plugin: &PluginName) -> Value {
    let values = call.context.seen_by(plugin).map(|(key, value)| {
        let value = serde_json::from_str::<&RawValue>(value).ok().and_then(|raw| serde_json::from_str(raw.get()).ok());
        (key.to_owned(), value.unwrap_or(Value::Null))
    });
    Value::Object(values.collect())
}

fn text(json: &[u8]) -> Value {
    String::from_utf8_lossy(json).into_owned().into()
}
