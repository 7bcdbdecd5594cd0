//! Compares the results of a hook with the expectations of a case.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::PluginName;
use crate::plugin::cases::difference::{Difference, NOTHING, shown};
use crate::plugin::cases::form::{Case, Expect, VerdictName};
use crate::plugin::cases::prepare::limit;
use crate::plugin::cases::texts::Wanted;
use crate::plugin::cases::value::differences;
use crate::plugin::fault::Fault;
use crate::plugin::invocation::Invocation;
use crate::plugin::release::Release;

/// The results of a hook.
pub(super) struct Got {
    pub(super) verdict: VerdictName,
    /// The verdict with its details, as one short text.
    pub(super) summary: String,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// The functions in which the hook trapped, the innermost first.
    pub(super) stack: Vec<String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Bytes>,
    pub(super) call: Option<Box<Invocation>>,
    pub(super) release: Option<Box<Release>>,
    pub(super) log: Vec<String>,
    pub(super) metrics: BTreeMap<String, u64>,
}

impl Got {
    /// A verdict without details.
    pub(super) fn plain(verdict: VerdictName) -> Self {
        Self {
            verdict,
            summary: verdict.as_str().to_owned(),
            status: None,
            code: None,
            message: None,
            stack: Vec::new(),
            headers: Vec::new(),
            body: None,
            call: None,
            release: None,
            log: Vec::new(),
            metrics: BTreeMap::new(),
        }
    }

    /// The verdict of a hook that failed.
    pub(super) fn failed(fault: &Fault) -> Self {
        let whole = Self::with_message(VerdictName::Fault, fault.to_string());
        let Fault::Trap(trap) = fault else { return whole };
        let summary = Self::with_message(VerdictName::Fault, fault.brief()).summary;
        Self { summary, stack: trap.stack.clone(), ..whole }
    }

    /// A verdict with a message.
    pub(super) fn with_message(verdict: VerdictName, message: String) -> Self {
        let summary = format!("{} ({})", verdict.as_str(), shown(&message));
        Self { summary, message: Some(message), ..Self::plain(verdict) }
    }
}

/// The differences between the results and the expectations.
pub(super) fn compare(case: &Case, plugin: &PluginName, got: &Got) -> Vec<Difference> {
    let expect = &case.expect;
    let wanted = expect.verdict.unwrap_or_else(|| {
        // A case that expects no verdict still expects that the hook does not fail.
        let all = VerdictName::of(case.hook);
        if all.contains(&got.verdict) && got.verdict != VerdictName::Fault { got.verdict } else { all[0] }
    });
    if wanted != got.verdict {
        return vec![Difference::new("verdict", wanted.as_str(), &got.summary)];
    }
    let mut found = Vec::new();
    compare_answer(expect, got, &mut found);
    if let Some(call) = &got.call {
        compare_call(expect, plugin, call, &mut found);
    }
    if let Some(release) = &got.release {
        compare_release(expect, release, &mut found);
    }
    for part in &expect.log {
        if !got.log.iter().any(|line| line.contains(part)) {
            let got = if got.log.is_empty() { "no line" } else { "none in the lines below" };
            found.push(Difference::new("log", format!("a line with {}", quoted(part)), got));
        }
    }
    for (name, count) in &expect.metrics {
        let there = got.metrics.get(name).copied().unwrap_or(0);
        if there != *count {
            found.push(Difference::new(format!("metrics.{name}"), count.to_string(), there.to_string()));
        }
    }
    found
}

fn compare_answer(expect: &Expect, got: &Got, found: &mut Vec<Difference>) {
    if let Some(status) = expect.status.filter(|status| Some(*status) != got.status) {
        let there = got.status.map_or_else(|| absent(got), |status| status.to_string());
        found.push(Difference::new("status", status.to_string(), there));
    }
    if let Some(code) = expect.code.as_ref().filter(|code| Some(*code) != got.code.as_ref()) {
        let there = got.code.as_deref().map_or_else(|| absent(got), quoted);
        found.push(Difference::new("code", quoted(code), there));
    }
    if let Some(part) = &expect.message
        && !got.message.as_ref().is_some_and(|message| message.contains(part))
    {
        let there = got.message.as_deref().map_or_else(|| absent(got), quoted);
        found.push(Difference::new("message", format!("one with {}", quoted(part)), there));
    }
    for (name, wanted) in &expect.headers {
        let is_it = |(there, _): &&(HeaderName, HeaderValue)| there.as_str().eq_ignore_ascii_case(name);
        let there = got.headers.iter().filter(is_it).map(|(_, value)| lossy(value));
        compare_texts(&format!("headers.{name}"), wanted, &there.collect::<Vec<_>>(), found);
    }
    if let Some(body) = expect.body.as_ref().map(|body| &body.0).or(expect.body_json.as_ref()) {
        match &got.body {
            Some(there) => found.extend(differences("body", body, &String::from_utf8_lossy(there))),
            None => found.push(Difference::new("body", shown(body), absent(got))),
        }
    }
}

fn compare_call(expect: &Expect, plugin: &PluginName, call: &Invocation, found: &mut Vec<Difference>) {
    let arguments = expect.arguments.as_ref().map(|json| &json.0).or(expect.arguments_json.as_ref());
    if let Some(arguments) = arguments {
        found.extend(differences("arguments", arguments, &String::from_utf8_lossy(call.arguments.as_json())));
    }
    for (name, wanted) in &expect.call_headers {
        compare_texts(&format!("call_headers.{name}"), wanted, &values(&call.headers, name), found);
    }
    let plain = expect.context.iter().map(|(key, json)| (key, &json.0));
    for (key, json) in plain.chain(&expect.context_json) {
        let what = format!("context.{key}");
        match call.context.get(key, plugin) {
            Some(there) => found.extend(differences(&what, json, there)),
            None => found.push(Difference::new(what, shown(json), NOTHING)),
        }
    }
}

fn compare_release(expect: &Expect, release: &Release, found: &mut Vec<Difference>) {
    let adjusted = &release.adjusted;
    for (what, expected, there) in
        [("environment", &expect.environment, &adjusted.environment), ("labels", &expect.labels, &adjusted.labels)]
    {
        for (name, wanted) in expected {
            let there: Vec<String> = there.get(name).cloned().into_iter().collect();
            compare_texts(&format!("{what}.{name}"), wanted, &there, found);
        }
    }
    let limits: BTreeMap<String, String> = adjusted.limits.pairs().into_iter().collect();
    for (name, value) in &expect.limits {
        let wanted = limit(name, &value.0).unwrap_or_else(|reason| reason);
        let there = limits.get(name).map_or(NOTHING, String::as_str);
        if wanted != there {
            found.push(Difference::new(format!("limits.{name}"), wanted, there));
        }
    }
    if let Some(names) = &expect.functions {
        let mut names = names.clone();
        names.sort_unstable();
        let there: Vec<&String> = adjusted.functions.keys().collect();
        if !names.iter().eq(there.iter().copied()) {
            found.push(Difference::new("functions", format!("{names:?}"), format!("{there:?}")));
        }
    }
}

fn compare_texts(what: &str, wanted: &Wanted, there: &[String], found: &mut Vec<Difference>) {
    let expected = match wanted {
        Wanted::There(wanted) if *wanted != there.is_empty() => return,
        Wanted::Values(values) if values == there => return,
        Wanted::There(true) => "any value".to_owned(),
        Wanted::There(false) => NOTHING.to_owned(),
        Wanted::Values(values) => all_quoted(values),
    };
    found.push(Difference::new(what, expected, all_quoted(there)));
}

fn all_quoted(texts: &[String]) -> String {
    match texts {
        [] => NOTHING.to_owned(),
        texts => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" and "),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", shown(text))
}

fn absent(got: &Got) -> String {
    format!("{NOTHING}: the verdict is {}", got.summary)
}

/// The values of a header that are text, in order.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(lossy).collect()
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
