//! The body of a request that a handler reads as it arrives, with deadlines but without a limit of size, which is left
//! to the handler. A body that was not read to its end is handed back, so that the rest can be dropped before the
//! answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::http::request_body;

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It stalled or arrived too slowly.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection ended, or the client aborted the request.
    #[error("the body broke off: {0}")]
    BrokenOff(#[from] hyper::Error),
}

/// A body that is being read. Time counts only while the reader waits for bytes.
#[derive(Debug)]
pub struct StreamedBody {
    /// None after its end.
    body: Option<Incoming>,
    stall: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: Option<Instant>,
    waited: Duration,
    total: u64,
    unread: Option<oneshot::Sender<Incoming>>,
}

/// The handle through which a body comes back.
#[derive(Debug)]
pub struct Unread(oneshot::Receiver<Incoming>);

/// Gives a body deadlines; `stall` is the longest time without a byte.
#[must_use]
pub fn streamed(body: Incoming, stall: Duration) -> (StreamedBody, Unread) {
    let (unread, back) = oneshot::channel();
    let streamed = StreamedBody {
        body: if body.is_end_stream() { None } else { Some(body) },
        stall,
        timer: Box::pin(tokio::time::sleep(stall)),
        waiting: None,
        waited: Duration::ZERO,
        total: 0,
        unread: Some(unread),
    };
    (streamed, Unread(back))
}

impl Unread {
    /// The body, if its reader dropped it before its end.
    #[must_use]
    pub fn take(mut self) -> Option<Incoming> {
        self.0.try_recv().ok()
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else { return this.poll_deadline(context) };
        if let Some(since) = this.waiting.take() {
            this.waited += since.elapsed();
        }
        match frame {
            Some(Ok(frame)) => {
                this.total += frame.data_ref().map_or(0, |data| data.len() as u64);
                if request_body::is_too_slow(this.waited, this.total) {
                    return Poll::Ready(Some(Err(BodyFault::TooSlow)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.body = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl StreamedBody {
    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, BodyFault>>> {
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            self.timer.as_mut().reset(tokio::time::Instant::now() + self.stall);
        }
        self.timer.as_mut().poll(context).map(|()| Some(Err(BodyFault::TooSlow)))
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take().filter(|body| !body.is_end_stream()), self.unread.take())
        {
            // The service has left when the connection has closed.
            let _service_left = unread.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use http_body_util::{BodyExt, Empty};
    use hyper::Response;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL: Duration = Duration::from_millis(50);

    /// Serves one request. Returns the frames that were read of its body, and whether the rest came back.
    async fn served(request: &[u8], close: bool, frames: usize) -> (Vec<Result<Bytes, String>>, bool) {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(request).await.unwrap();
        if close {
            client.shutdown().await.unwrap();
        }
        let outcome = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&outcome);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (mut body, unread) = streamed(request.into_body(), STALL);
                let mut read = Vec::new();
                while read.len() < frames
                    && let Some(frame) = body.frame().await
                {
                    read.push(frame.map(|frame| frame.into_data().unwrap()).map_err(|fault| fault.to_string()));
                }
                drop(body);
                *seen.lock() = Some((read, unread.take().is_some()));
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let mut answer = [0; 12];
        let _ended = tokio::join!(
            async {
                let _closed = connection.await;
            },
            async {
                let _none = client.read_exact(&mut answer).await;
                drop(client);
            }
        );
        outcome.lock().take().unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_nothing_is_left() {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let (read, unread) = served(request, false, usize::MAX).await;
        let text: Vec<u8> = read.into_iter().flat_map(|data| data.unwrap().to_vec()).collect();
        assert_eq!((text.as_slice(), unread), (&b"abc"[..], false));
        let none = served(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", false, usize::MAX).await;
        assert_eq!(none, (Vec::new(), false));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let (read, _) = served(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab", false, 2).await;
        assert_eq!(read, [Ok(Bytes::from("ab")), Err("the body came too slowly".to_owned())]);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let (read, unread) =
            served(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab", true, usize::MAX).await;
        assert!(read[1].as_ref().unwrap_err().starts_with("the body broke off"), "{read:?}");
        assert!(!unread);
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_comes_back() {
        let (_, unread) = served(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab", false, 0).await;
        assert!(unread);
        let (_, unread) = served(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab", false, 1).await;
        assert!(unread);
    }
}
