//! A stream as the result of a tool whose client wants to see progress: the answer is a stream of events, with
//! notifications of how many items have come, and at the end the result with all of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::http::call::stream_answer::NO_BUFFERING;
use crate::http::mcp::gathered::Gathered;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;

/// Shortest time between two notifications.
const INTERVAL: Duration = Duration::from_millis(20);

/// A stream of items, a line of JSON for each.
#[derive(Debug)]
pub struct Items {
    /// What has come.
    pub gathered: Gathered,
    /// How long the whole stream may take.
    pub limit: Duration,
}

/// What is left of a stream in an answer.
struct Progress<F> {
    items: Items,
    until: Instant,
    token: Box<str>,
    count: usize,
    notified: Option<Instant>,
    finish: F,
}

/// The answer. `token` is the client's, as JSON text; `finish` makes the message with the result.
pub fn answer<F>(items: Items, token: Box<str>, finish: F) -> Response<ReplyBody>
where
    F: FnOnce(Result<Bytes, Problem>) -> String + Send + 'static,
{
    let until = Instant::now() + items.limit;
    let progress = Progress { items, until, token, count: 0, notified: None, finish };
    let events = stream::unfold(Some(progress), |progress| async {
        let (message, rest) = progress?.next().await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(format!("event: message\ndata: {message}\n\n"))), rest))
    });
    let mut response = Response::new(ReplyBody::Streamed(axum::body::Body::from_stream(events)));
    for (name, value) in [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache"), (NO_BUFFERING, "no")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl<F: FnOnce(Result<Bytes, Problem>) -> String + Send + 'static> Progress<F> {
    /// The next message, and what follows it.
    async fn next(mut self) -> (String, Option<Self>) {
        loop {
            let read = tokio::time::timeout_at(self.until.into(), self.items.gathered.read()).await;
            let problem = match read {
                Ok(Ok(Some(piece))) => {
                    let lines = piece.iter().filter(|byte| **byte == b'\n').count();
                    self.count += lines;
                    if lines > 0 && self.notified.is_none_or(|at| at.elapsed() >= INTERVAL) {
                        self.notified = Some(Instant::now());
                        return (notification(&self.token, self.count), Some(self));
                    }
                    continue;
                }
                Ok(Ok(None)) => None,
                Ok(Err(problem)) => Some(problem),
                Err(_) => Some(late(self.items.limit)),
            };
            let Self { items, finish, .. } = self;
            let whole = problem.map_or_else(|| Ok(array(&items.gathered.finish())), Err);
            // The whole is 8 MiB at most, and checked against its schema.
            let made = tokio::task::spawn_blocking(move || finish(whole)).await;
            return (made.unwrap_or_default(), None);
        }
    }
}

/// The error for a stream that takes longer than a call may.
#[must_use]
pub fn late(limit: Duration) -> Problem {
    Problem::new(Code::CallTimeout, format!("the stream of the function did not end within {limit:?}"))
}

/// The items as an array.
#[must_use]
pub fn array(lines: &[u8]) -> Bytes {
    let mut array = Vec::with_capacity(lines.len() + 2);
    array.push(b'[');
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    array.into()
}

fn notification(token: &str, count: usize) -> String {
    let params = format!(r#"{{"progressToken":{token},"progress":{count}}}"#);
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_an_array() {
        assert_eq!(array(b"1\n{\"a\":2}\n"), &b"[1,{\"a\":2}]"[..]);
        assert_eq!(array(b""), &b"[]"[..]);
        assert_eq!(notification("\"t\"", 3).matches("\"progress\":3").count(), 1);
    }
}
