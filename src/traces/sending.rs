//! One request to the collector, and what its answer means: OTLP 1.x, "OTLP/HTTP".

use std::io::{Read as _, Write as _};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::traces::settings::Settings;
use crate::traces::span::{self, Span};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes of an answer that are read.
const ANSWER_LIMIT: u64 = 64 << 10;
/// The longest wait that a collector may ask for.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a collector's message in the log.
const MESSAGE_LIMIT: usize = 200;

/// How requests are made.
pub(super) struct Sending {
    agent: Agent,
    settings: Settings,
    resource: Resource,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Sent {
    /// Accepted, but for so many spans; why.
    Accepted(u64, String),
    /// It may be accepted later, perhaps after this time.
    Later(Option<Duration>, String),
    /// It will never be accepted.
    Refused(String),
}

impl Sending {
    pub(super) fn new(settings: Settings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(settings.timeout))
            .user_agent(format!("metagate/{VERSION}"))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let attributes = vec![
            span::text("service.name", &settings.service_name),
            span::text("service.version", VERSION),
            span::text("host.name", &host),
            span::number("process.pid", i64::from(std::process::id())),
        ];
        let resource = Resource { attributes, ..Resource::default() };
        Self { agent: config.build().into(), settings, resource }
    }

    /// The body of a request with these spans.
    pub(super) fn encode(&self, spans: Vec<Span>) -> Vec<u8> {
        let scope = InstrumentationScope { name: "metagate".into(), version: VERSION.into(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        };
        let body = request.encode_to_vec();
        if !self.settings.compresses {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish()).expect("a vector takes all bytes")
    }

    /// Makes a request. Blocks, for the timeout at most.
    pub(super) fn send(&self, body: &[u8]) -> Sent {
        let mut request = self.agent.post(self.settings.url.as_str());
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        request = request.header(CONTENT_TYPE, "application/x-protobuf");
        if self.settings.compresses {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        match request.send(body) {
            Ok(response) => {
                let (head, mut body) = response.into_parts();
                let mut answer = Vec::new();
                let read = body.as_reader().take(ANSWER_LIMIT).read_to_end(&mut answer);
                of_answer(head.status, &head.headers, if read.is_ok() { &answer } else { &[] })
            }
            Err(error) => Sent::Later(None, error.to_string()),
        }
    }
}

fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Sent {
    let refused = || format!("the collector answers {}", status.as_u16());
    match status {
        // A body that is no message says nothing about the spans.
        _ if status.is_success() => {
            let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            let partial = answer.partial_success.unwrap_or_default();
            Sent::Accepted(u64::try_from(partial.rejected_spans).unwrap_or(0), shown(&partial.error_message))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Sent::Later(headers.get(RETRY_AFTER).and_then(wait), refused()),
        _ => Sent::Refused(refused()),
    }
}

/// A message of the collector, as the log may have it.
fn shown(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_LIMIT)].replace(char::is_control, " ")
}

/// The time that a `Retry-After` asks to wait, in seconds or as a date.
fn wait(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    let asked = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(asked.min(WAIT_LIMIT))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use http::HeaderName;

    use super::*;

    fn answered(status: u16, headers: &[(HeaderName, &str)], body: &[u8]) -> String {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        format!("{:?}", of_answer(StatusCode::from_u16(status).unwrap(), &headers.collect(), body))
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too\nold".into() };
        let partly = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(answered(200, &[], b""), "Accepted(0, \"\")");
        assert_eq!(answered(202, &[], b"<html>"), "Accepted(0, \"\")");
        assert_eq!(answered(200, &[], &partly), "Accepted(3, \"too old\")");
        for (asked, wait) in [("7", "Some(7s)"), ("86400", "Some(60s)"), ("soon", "None"), ("-1", "None")] {
            let told = answered(503, &[(RETRY_AFTER, asked)], b"");
            assert_eq!(told, format!("Later({wait}, \"the collector answers 503\")"));
        }
        assert!(answered(429, &[(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")], b"").starts_with("Later(Some(0ns)"));
        for status in [301, 400, 401, 404, 413, 500] {
            assert!(answered(status, &[], b"").starts_with("Refused"), "{status}");
        }
    }
}
