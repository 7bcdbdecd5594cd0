//! The output of functions: whole lines on the worker's own standard output and standard error, which the gateway keeps
//! as the deployment's log.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest line, in bytes, as in the log. A longer one is broken, so that unfinished lines have a bound.
const LINE_SIZE: usize = 8 << 10;
/// Most bytes of one write.
const WRITE_SIZE: usize = 64 << 10;

/// Which of the worker's two streams.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One stream of one instance.
#[derive(Clone)]
pub(super) struct Output {
    stream: Stream,
    /// The start of a line that has not ended. Instances print at the same time, so only whole lines are written.
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, unfinished: Arc::default() }
    }

    /// Ends a line that was unfinished.
    pub(super) fn end_line(&self) {
        let mut unfinished = self.unfinished.lock();
        if !unfinished.is_empty() {
            unfinished.push(b'\n');
            self.print(&unfinished);
            unfinished.clear();
        }
    }

    fn add(&self, bytes: &[u8]) {
        let mut unfinished = self.unfinished.lock();
        unfinished.extend_from_slice(bytes);
        if let Some(end) = memchr::memrchr(b'\n', &unfinished) {
            self.print(&unfinished[..=end]);
            unfinished.drain(..=end);
        }
        if unfinished.len() >= LINE_SIZE {
            unfinished.push(b'\n');
            self.print(&unfinished);
            unfinished.clear();
        }
    }

    /// Fails only when the gateway no longer reads, which means that the worker is about to end.
    fn print(&self, lines: &[u8]) {
        let _unread = match self.stream {
            Stream::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            Stream::Stderr => io::stderr().lock().write_all(lines),
        };
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_SIZE)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.add(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
