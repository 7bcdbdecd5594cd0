//! The access log: a line for each call, with how it ended and how long its parts took.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Uri};
use serde::Serialize;

use crate::addresses::PeerText;
use crate::config::{AccessLogConfig, AccessLogFormat};
use crate::deployment::DeploymentName;
use crate::http::call::call_head::CallHead;
use crate::http::request_id;
use crate::invocation::trace_context::TraceContext;
use crate::metrics::calls::Ended;
use crate::telemetry::writer::LogWriter;

/// Bytes of a path, a query or a header that a line has at most.
const TEXT_LIMIT: usize = 2048;

/// The access log.
#[derive(Debug)]
pub struct AccessLog {
    writer: LogWriter,
    config: AccessLogConfig,
}

/// A line of JSON. Times are in milliseconds.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    client: PeerText,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<&'a str>,
    function: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    request_bytes: u64,
    answer_bytes: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

impl AccessLog {
    /// A log of this form that goes to `writer`.
    #[must_use]
    pub fn new(writer: LogWriter, config: AccessLogConfig) -> Self {
        Self { writer, config }
    }

    /// Returns when every line so far was written, or after a second.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Writes the line of a call that has ended, if it is to have one.
    pub fn end(&self, head: &CallHead, trace: Option<&TraceContext>, ended: &Ended) {
        let AccessLogConfig { sample, slow, format, .. } = &self.config;
        let is_sampled = *sample == 1 || fastrand::u32(0..*sample) == 0;
        let has_line = is_sampled || !ended.code.is_empty() || ended.duration > slow.get();
        if !has_line {
            return;
        }
        let mut line = match format {
            AccessLogFormat::Json => self.json(head, trace, ended),
            AccessLogFormat::Combined => self.combined(head, ended),
        };
        line.push(b'\n');
        self.writer.append(&line);
    }

    fn json(&self, head: &CallHead, trace: Option<&TraceContext>, ended: &Ended) -> Vec<u8> {
        let Ended { times, stream, .. } = ended;
        let line = Line {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            request_id: request_id::text(&head.id),
            trace_id: trace.map(|context| context.trace.to_string()),
            span_id: trace.map(|context| context.span.to_string()),
            client: PeerText(head.client),
            method: head.method.as_str(),
            path: shortened(head.uri.path()),
            query: self.query(&head.uri),
            deployment: head.deployment.as_ref().map(DeploymentName::as_str),
            function: shortened(&head.function),
            status: ended.status,
            code: &ended.code,
            request_bytes: ended.request_bytes,
            answer_bytes: ended.answer_bytes,
            duration_ms: milliseconds(ended.duration),
            plugins_ms: times.plugins.map(milliseconds),
            queue_ms: times.worker.map(|_| milliseconds(times.queue)),
            worker_ms: times.worker.map(milliseconds),
            stream_ms: stream.map(milliseconds),
            user_agent: text(head.user_agent.as_ref()),
        };
        serde_json::to_vec(&line).expect("texts and numbers always render as JSON")
    }

    /// The combined format of web servers, with the id, the code and the times after it.
    fn combined(&self, head: &CallHead, ended: &Ended) -> Vec<u8> {
        let Ended { times, stream, .. } = ended;
        let client = PeerText(head.client);
        let (time, version, bytes) = (common_time(SystemTime::now()), head.version, ended.answer_bytes);
        let query = self.query(&head.uri).map_or_else(String::new, |query| format!("?{query}"));
        let path = escaped(shortened(head.uri.path()));
        let (method, query) = (&head.method, escaped(&query));
        let referer = text(head.referer.as_ref()).map_or_else(
            || "-".to_owned(),
            |referer| match referer.split_once('?') {
                Some((page, _)) => format!("{}?*", escaped(page)),
                None => escaped(referer),
            },
        );
        let agent = text(head.user_agent.as_ref()).map_or_else(|| "-".to_owned(), escaped);
        let (status, id, duration) = (ended.status, request_id::text(&head.id), milliseconds(ended.duration));
        let request = format!("{method} {path}{query} {version:?}");
        let mut line = format!("{client} - - [{time}] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\"");
        write!(line, " {id} {duration:.3}").expect("a text takes text");
        let parts = [
            ("plugins", times.plugins),
            ("queue", times.worker.map(|_| times.queue)),
            ("worker", times.worker),
            ("stream", *stream),
        ];
        for (name, time) in parts {
            if let Some(time) = time {
                write!(line, " {name}={:.3}", milliseconds(time)).expect("a text takes text");
            }
        }
        if !ended.code.is_empty() {
            write!(line, " code={}", ended.code).expect("a text takes text");
        }
        line.into_bytes()
    }

    /// The query, with the values that may be written.
    fn query(&self, uri: &Uri) -> Option<String> {
        let query = shortened(uri.query()?);
        let mut shown = String::with_capacity(query.len());
        for (at, pair) in query.split('&').enumerate() {
            if at > 0 {
                shown.push('&');
            }
            match pair.split_once('=') {
                Some((name, value)) if self.shows(name) => write!(shown, "{name}={value}").expect("a text takes text"),
                // Base64 ends with these signs: such a text has no name.
                Some((_, value)) if value.trim_matches('=').is_empty() => shown.push('*'),
                Some((name, _)) => write!(shown, "{name}=*").expect("a text takes text"),
                // A text without a name may be anything.
                None if pair.is_empty() || self.shows(pair) => shown.push_str(pair),
                None => shown.push('*'),
            }
        }
        Some(shown)
    }

    fn shows(&self, name: &str) -> bool {
        self.config.query.iter().any(|shown| shown == name)
    }
}

fn milliseconds(time: Duration) -> f64 {
    // To the microsecond.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok()).map(shortened)
}

/// A text between quotes on one line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `29/Nov/2026:02:00:55 +0000`.
fn common_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = humantime::format_rfc3339_seconds(time).to_string();
    let month = time[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&"-");
    format!("{}/{month}/{}:{} +0000", &time[8..10], &time[..4], &time[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_written_only_where_their_names_are_listed() {
        let config = AccessLogConfig { query: vec!["page".to_owned()], ..AccessLogConfig::default() };
        let log = AccessLog::new(LogWriter::start(Box::new(std::io::sink()), "a sink").unwrap(), config);
        for (query, shown) in [
            ("page=2&key=secret", "page=2&key=*"),
            ("secret", "*"),
            ("page&&a=b=c&page=a=b", "page&&a=*&page=a=b"),
            ("Page=1&%70age=1", "Page=*&%70age=*"),
            ("c2VjcmV0==&c2Vjcm0=&page=", "*&*&page="),
        ] {
            assert_eq!(log.query(&format!("/a?{query}").parse().unwrap()).as_deref(), Some(shown));
        }
        assert_eq!(log.query(&Uri::from_static("/a")), None);
    }

    #[test]
    fn times_and_texts_are_those_of_the_combined_format() {
        let time = humantime::parse_rfc3339("2026-11-29T02:00:55Z").unwrap();
        assert_eq!(common_time(time), "29/Nov/2026:02:00:55 +0000");
        assert_eq!(escaped("a\"b\\c\u{1b}d\n"), "a\\\"b\\\\c\\u{1b}d\\n");
        assert!((milliseconds(Duration::from_nanos(1_234_567)) - 1.235).abs() < 1e-9);
    }
}
