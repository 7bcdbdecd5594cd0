//! What a client sends over HTTP/2, watched for a head that is not finished in time: HTTP/2's own code waits for the
//! rest of a head, and takes no other frame meanwhile, without a deadline. RFC 9113, sections 4.1, 6.2 and 6.10.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Reads frames from `inner`. A head, or another frame but DATA, that has begun and is not complete after `limit` is an
/// error: bodies have deadlines of their own.
pub(super) struct FrameHeads<R> {
    inner: R,
    /// Bytes that were already read.
    early: Bytes,
    frames: Frames,
    limit: Duration,
    /// When the head that has begun is to be complete. Most frames come whole: they need no timer.
    late: Option<Pin<Box<Sleep>>>,
}

impl<R> FrameHeads<R> {
    /// `early` was already read from `inner`; `preface` bytes come before the first frame.
    pub(super) fn new(inner: R, early: Bytes, preface: usize, limit: Duration) -> Self {
        Self { inner, early, frames: Frames { left: preface, ..Frames::default() }, limit, late: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for FrameHeads<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if self.early.is_empty() {
            Pin::new(&mut self.inner).poll_read(context, buffer)
        } else {
            let length = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..length]);
            self.early.advance(length);
            Poll::Ready(Ok(()))
        };
        if self.frames.read(&buffer.filled()[before..]) {
            self.late = None;
        }
        if self.frames.is_waiting() {
            let limit = self.limit;
            let late = self.late.get_or_insert_with(|| Box::pin(sleep(limit)));
            if late.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a head is not complete in time")));
            }
        }
        ready!(read)?;
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncWrite + Unpin> AsyncWrite for FrameHeads<R> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Where in the frames what was read ends.
#[derive(Default)]
struct Frames {
    /// The first bytes of a frame whose own head is not complete.
    head: [u8; FRAME_HEAD],
    filled: usize,
    /// Bytes that are missing of the preface or of a frame, and whether that is one of a body.
    left: usize,
    is_body: bool,
    /// Whether the header fields of a request go on in the next frame.
    goes_on: bool,
}

impl Frames {
    /// Takes bytes. Returns whether something that was not complete is, so that what follows has all of its time.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_ended = false;
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(FRAME_HEAD - self.filled);
                self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                (self.filled, bytes) = (self.filled + taken, &bytes[taken..]);
                if self.filled < FRAME_HEAD {
                    break;
                }
                self.begin();
            }
            let taken = bytes.len().min(self.left);
            (self.left, bytes) = (self.left - taken, &bytes[taken..]);
            has_ended |= self.left == 0 && !self.goes_on;
        }
        has_ended
    }

    /// Begins the frame whose head has been read.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.filled = 0;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.is_body = kind == DATA;
        if kind == HEADERS || kind == CONTINUATION {
            self.goes_on = flags & END_HEADERS == 0;
        }
    }

    /// Whether something other than a body has begun and is not complete.
    fn is_waiting(&self) -> bool {
        self.goes_on || self.filled > 0 || (self.left > 0 && !self.is_body)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Whether the client is waited for after each byte.
    fn waiting(bytes: &[u8]) -> Vec<bool> {
        let mut frames = Frames::default();
        let after = |byte: &u8| {
            frames.read(&[*byte]);
            frames.is_waiting()
        };
        bytes.iter().map(after).collect()
    }

    #[test]
    fn a_head_is_awaited_from_its_first_byte_to_its_last() {
        let head = [frame(HEADERS, 0, b"ab"), frame(CONTINUATION, 0, b""), frame(CONTINUATION, END_HEADERS, b"c")];
        let mut expected = vec![true; head.concat().len()];
        *expected.last_mut().unwrap() = false;
        assert_eq!(waiting(&head.concat()), expected);
        let body = frame(DATA, 0, b"abc");
        assert_eq!(waiting(&body), [vec![true; 8], vec![false; 4]].concat());
        // However the bytes are cut.
        let all = [head.concat(), body, frame(6, 0, b"12345678")].concat();
        for size in 1..all.len() {
            let mut frames = Frames::default();
            for part in all.chunks(size) {
                frames.read(part);
            }
            assert!(!frames.is_waiting(), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_head_is_an_error_after_its_time_however_slowly_it_comes() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let mut reader = FrameHeads::new(server, Bytes::new(), 3, Duration::from_secs(10));
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            let error = reader.read_to_end(&mut all).await.unwrap_err();
            (all.len(), error.kind(), tokio::time::Instant::now())
        });
        client.write_all(b"PRI").await.unwrap();
        sleep(Duration::from_secs(100)).await;
        client.write_all(&frame(HEADERS, END_HEADERS, b"ab")).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        client.write_all(&frame(DATA, 0, b"abc")[..10]).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        client.write_all(b"bc").await.unwrap();
        let begun = tokio::time::Instant::now();
        for kind in [&[HEADERS][..], &[CONTINUATION; 8]].concat() {
            client.write_all(&frame(kind, 0, b"x")).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        let (read, kind, at) = reading.await.unwrap();
        assert_eq!((read, kind), (3 + 11 + 12 + 90, io::ErrorKind::TimedOut));
        assert_eq!(at.duration_since(begun).as_secs(), 10);
    }
}
