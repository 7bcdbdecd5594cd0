//! An asynchronous call as callers see it: its state, its times, and what it came to.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use url::Url;

use crate::queue::call::{Answer, Kept};
use crate::queue::call_id::CallId;
use crate::queue::progress::{Millis, State};

/// Digits of an id that are shown to those who may only look.
const SHOWN_DIGITS: usize = 8;
/// The first part of the addresses of calls.
pub const PREFIX: &str = "/api/calls/";

/// The address of a call.
#[must_use]
pub fn address(id: CallId) -> String {
    format!("{PREFIX}{id}")
}

/// The id in the address of a call, or in that of its result.
#[must_use]
pub fn id_in(path: &str) -> Option<CallId> {
    let rest = path.strip_prefix(PREFIX)?;
    rest.strip_suffix("/result").unwrap_or(rest).parse().ok()
}

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    state: State,
    deployment: &'a str,
    function: &'a str,
    tries: u32,
    priority: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    origin: &'a str,
    accepted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<ShownCallback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_of: Option<String>,
}

/// Where the end of a call is reported to, and how far that is.
#[derive(Serialize)]
struct ShownCallback {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

/// Who sees a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Viewer {
    /// Whoever may change it.
    Owner,
    /// Whoever may only look: ids, and the paths of callbacks, are not whole.
    Reader,
    /// Whoever is sent the report of its end.
    Receiver,
}

/// A call as a JSON object.
#[must_use]
pub fn json(kept: &Kept, answer: Option<&Answer>) -> Bytes {
    shown(kept, answer, Viewer::Owner)
}

/// A call that has ended, as its end is reported. A result that is not given is there at its address.
#[must_use]
pub(super) fn report(kept: &Kept, answer: Option<&Answer>) -> Bytes {
    shown(kept, answer, Viewer::Receiver)
}

/// A call for those who may only look at it: with the first digits of its id.
#[must_use]
pub fn json_of_list(kept: &Kept) -> Bytes {
    shown(kept, None, Viewer::Reader)
}

fn id_for(viewer: Viewer, id: CallId) -> String {
    let id = id.to_string();
    if viewer == Viewer::Reader { format!("{}…", &id[..SHOWN_DIGITS]) } else { id }
}

fn shown(kept: &Kept, answer: Option<&Answer>, viewer: Viewer) -> Bytes {
    let progress = kept.progress;
    let (state, has_ended) = (progress.state, progress.state.has_ended());
    let content_type = answer.and_then(|answer| header_of(answer, "content-type"));
    let has_result = state == State::Done && kept.reports.is_none();
    let result = answer.filter(|_| has_result).and_then(|answer| value_of(answer, content_type.as_deref()));
    let shown = Shown {
        id: id_for(viewer, kept.id),
        state,
        deployment: &kept.deployment,
        function: &kept.function,
        tries: progress.tries,
        priority: kept.priority.as_str(),
        origin: &kept.origin,
        accepted: time(kept.accepted),
        started: kept.began.map(time),
        ended: kept.ended.filter(|_| has_ended).map(time),
        next_try: (state == State::Queued).then(|| time(progress.due)),
        expires: (!has_ended).then(|| time(progress.expires)),
        removed: has_ended.then(|| time(progress.due)),
        status: kept.last.as_ref().map(|last| last.0).filter(|status| *status > 0),
        content_type: content_type.filter(|_| has_result),
        result_at: (viewer == Viewer::Receiver && has_result && result.is_none())
            .then(|| format!("{}/result", address(kept.id))),
        result,
        error: (state != State::Done).then(|| error_of(kept, answer)).flatten(),
        callback: kept
            .callback
            .as_deref()
            .filter(|_| viewer != Viewer::Receiver)
            .map(|url| callback_of(kept, url, viewer)),
        callback_of: kept.reports.map(|id| id_for(viewer, id)),
    };
    serde_json::to_vec(&shown).expect("texts always render as JSON").into()
}

fn callback_of(kept: &Kept, url: &str, viewer: Viewer) -> ShownCallback {
    let report = kept.report.as_deref();
    let progress = report.map(|report| report.progress);
    // A path may have a secret of its receiver in it.
    let origin = || Url::parse(url).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization());
    ShownCallback {
        url: if viewer == Viewer::Reader { origin() } else { url.to_owned() },
        id: report.map(|report| id_for(viewer, report.id)),
        state: progress.map(|progress| progress.state),
        tries: progress.map(|progress| progress.tries),
        next_try: progress.filter(|progress| progress.state == State::Queued).map(|progress| time(progress.due)),
        ended: report.filter(|report| report.progress.state.has_ended()).and_then(|report| report.ended).map(time),
        error: report.filter(|report| report.progress.state != State::Done).and_then(|report| error_of(report, None)),
    }
}

/// The value of a header of an answer.
#[must_use]
pub fn header_of(answer: &Answer, name: &str) -> Option<String> {
    headers_of(answer).into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// The headers of an answer.
#[must_use]
pub fn headers_of(answer: &Answer) -> Vec<(String, String)> {
    serde_json::from_str(&answer.head).unwrap_or_default()
}

/// A result as a value: JSON as it is, text as text, other bytes as `{"base64": "…"}`.
fn value_of(answer: &Answer, content_type: Option<&str>) -> Option<Box<RawValue>> {
    let media = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let text = || std::str::from_utf8(&answer.body).ok();
    let is_json = media == "application/json" || media.ends_with("+json");
    if answer.body.is_empty() {
        return RawValue::from_string("null".to_owned()).ok();
    }
    if is_json && let Some(raw) = text().and_then(|text| RawValue::from_string(text.to_owned()).ok()) {
        return Some(raw);
    }
    if let Some(text) = text().filter(|_| media.starts_with("text/")) {
        return serde_json::value::to_raw_value(text).ok();
    }
    serde_json::value::to_raw_value(&serde_json::json!({ "base64": STANDARD.encode(&answer.body) })).ok()
}

#[derive(Serialize)]
struct ErrorOf<'a> {
    code: &'a str,
    message: &'a str,
}

/// What the last try failed with: as its caller would have seen it, once the call has ended.
fn error_of(kept: &Kept, answer: Option<&Answer>) -> Option<Box<RawValue>> {
    let (status, code, message) = kept.last.as_ref()?;
    if code.is_empty() && *status < 400 {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Whole {
        error: Box<RawValue>,
    }
    let own = answer.filter(|answer| answer.code == *code);
    let whole = own.and_then(|answer| serde_json::from_slice::<Whole>(&answer.body).ok());
    whole.map(|whole| whole.error).or_else(|| serde_json::value::to_raw_value(&ErrorOf { code, message }).ok())
}

/// A time as text, such as `2026-03-01T12:00:00.000Z`.
fn time(millis: Millis) -> String {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let at = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    // Years beyond 9999 are times that never come.
    let latest = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(if since > latest { SystemTime::UNIX_EPOCH + latest } else { at }).to_string()
}
