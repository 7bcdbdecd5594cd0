//! What functions print: whole lines on the worker's own standard output or standard error, which are the deployment's log.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest line; the log cuts there too.
const LINE_SIZE: usize = 8 << 10;
/// Bytes of one write.
const WRITE_SIZE: usize = 64 << 10;

/// Which of the worker's two streams.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One stream of one instance.
#[derive(Clone)]
pub(super) struct Output {
    to: To,
    /// What has been printed of a line that has not ended.
    begun: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    pub(super) fn new(to: To) -> Self {
        Self { to, begun: Arc::default() }
    }

    /// Ends a line that was begun.
    pub(super) fn end_line(&self) {
        let mut begun = self.begun.lock();
        if !begun.is_empty() {
            begun.push(b'\n');
            self.print(&begun);
            begun.clear();
        }
    }

    fn add(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock();
        begun.extend_from_slice(bytes);
        if let Some(end) = memchr::memrchr(b'\n', &begun) {
            self.print(&begun[..=end]);
            begun.drain(..=end);
        }
        if begun.len() >= LINE_SIZE {
            begun.push(b'\n');
            self.print(&begun);
            begun.clear();
        }
    }

    /// Nobody reads any more when this fails: the worker is about to end.
    fn print(&self, lines: &[u8]) {
        let _unread = match self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            To::Stderr => io::stderr().lock().write_all(lines),
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
