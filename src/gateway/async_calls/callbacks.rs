//! The end of an asynchronous call is reported to where its caller asked for: one POST request, signed as Standard
//! Webhooks are. Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::answer::code::Code;
use crate::config::{CallbackUrl, CallbacksConfig};
use crate::hmac;
use crate::outbound::{Network, SendError};
use crate::queue::progress::TryEnd;
use crate::queue::{self, Answer, Try};

/// Requests to one origin at a time: a receiver that does not answer holds up no others.
pub(super) const OF_ORIGIN: usize = 4;
/// Requests to all origins at a time. Each has a thread.
pub(super) const OF_ALL: usize = 64;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// The code of a callback that was not taken.
const FAILED: &str = "callback_failed";
/// Bytes of an answer that are read, so that its connection can be used again.
const READ: u64 = 64 << 10;
/// The longest delay that a receiver may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// Callbacks as the configuration permits them.
pub struct Callbacks {
    config: CallbacksConfig,
    network: Network,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl Callbacks {
    /// Those of a configuration.
    #[must_use]
    pub(super) fn new(config: &CallbacksConfig) -> Self {
        Self { config: config.clone(), network: Network::new(Arc::new(config.http.clone())) }
    }

    /// Whether the end of a call may be reported there.
    #[must_use]
    pub fn permits(&self, url: &CallbackUrl) -> bool {
        self.config.secret.is_some() && self.config.permits(url)
    }

    /// How long a callback is tried.
    #[must_use]
    pub(super) fn max_age(&self) -> Duration {
        self.config.max_age.get()
    }
}

/// Makes a try of a callback. Returns how it ended, and what is kept of the answer: nothing of its body, because
/// whoever has the id of the call may see what is kept.
pub(super) async fn deliver(callbacks: Arc<Callbacks>, url: &str, one: &Try) -> (TryEnd, Answer) {
    let Some(body) = one.request.clone() else {
        return failed(
            TryEnd::Final,
            0,
            Code::StorageError.as_str(),
            "what is kept of the callback is gone".to_owned(),
        );
    };
    let url: CallbackUrl = match url.parse() {
        Ok(url) => url,
        Err(error) => return failed(TryEnd::Final, 0, Code::BadUrl.as_str(), error),
    };
    let id = one.id.to_string();
    let sent = tokio::task::spawn_blocking(move || callbacks.send(&url, &id, &body));
    match sent.await {
        Ok(Ok((status, delay))) => end_of(status, delay),
        Ok(Err(error @ SendError::NotGranted(_))) => {
            let code = Code::CallbackNotAllowed.as_str();
            failed(TryEnd::Final, 0, code, format!("{error} in [async.callbacks]"))
        }
        Ok(Err(error)) => failed(TryEnd::Failed, 0, FAILED, error.to_string()),
        Err(error) => failed(TryEnd::Failed, 0, FAILED, error.to_string()),
    }
}

impl Callbacks {
    /// Sends a callback. Returns the status of the answer, and the delay that it asks for. Blocks.
    fn send(&self, url: &CallbackUrl, id: &str, body: &Bytes) -> Result<(StatusCode, Option<Duration>), SendError> {
        let deadline = Instant::now() + self.config.timeout.get();
        let key = self.config.secret.as_ref().map(|secret| secret.expose()).unwrap_or_default();
        if key.is_empty() {
            return Err(SendError::NotGranted(url.get().origin().ascii_serialization()));
        }
        let headers = headers_of(key, id, queue::time_of_day() / 1000, body);
        let response = self.network.send(&Method::POST, url.get(), &headers, body, deadline)?;
        let (head, body) = response.into_parts();
        // What the body says counts for nothing, nor does a connection that breaks meanwhile.
        let _ignored = io::copy(&mut body.into_reader().take(READ), &mut io::sink());
        let delay = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((head.status, delay.map(Duration::from_secs)))
    }
}

/// The headers of a callback, with its signature.
fn headers_of(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> HeaderMap {
    let seconds = seconds.to_string();
    let seal = hmac::sha256(key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [(ID, id), (TIMESTAMP, &seconds), (SIGNATURE, &format!("v1,{}", STANDARD.encode(seal)))] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What an answer makes of a callback. Redirects are not followed: they would lead elsewhere than what is permitted.
fn end_of(status: StatusCode, delay: Option<Duration>) -> (TryEnd, Answer) {
    let number = status.as_u16();
    if status.is_success() {
        return (TryEnd::Done, Answer { status: number, ..Answer::default() });
    }
    let end = match number {
        408 | 425 | 429 | 503 => TryEnd::FailedFor(delay.unwrap_or_default().min(LONGEST_DELAY)),
        400..500 => TryEnd::Final,
        _ => TryEnd::Failed,
    };
    let what = if status.is_redirection() { ", and redirects are not followed" } else { "" };
    failed(end, number, FAILED, format!("the receiver answered with status {number}{what}"))
}

fn failed(end: TryEnd, status: u16, code: &str, message: String) -> (TryEnd, Answer) {
    (end, Answer { status, code: code.into(), message: message.into(), ..Answer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_signed_as_standard_webhooks_are() {
        // The example of the specification's libraries.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = headers_of(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(headers[SIGNATURE], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers[TIMESTAMP], "1614265330");
    }

    #[test]
    fn the_status_says_whether_a_callback_is_tried_again() {
        let of = |status, delay: Option<u64>| {
            end_of(StatusCode::from_u16(status).unwrap(), delay.map(Duration::from_secs)).0
        };
        let asked = |seconds| TryEnd::FailedFor(Duration::from_secs(seconds));
        for (status, end) in [(200, TryEnd::Done), (204, TryEnd::Done), (400, TryEnd::Final), (410, TryEnd::Final)] {
            assert_eq!(of(status, Some(7)), end, "{status}");
        }
        for (status, end) in [(302, TryEnd::Failed), (500, TryEnd::Failed), (429, asked(7)), (503, asked(7))] {
            assert_eq!(of(status, Some(7)), end, "{status}");
        }
        assert_eq!((of(408, None), of(425, Some(u64::MAX))), (asked(0), asked(3600)));
    }
}
