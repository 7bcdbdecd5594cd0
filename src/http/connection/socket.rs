//! The socket of a connection: TCP, encrypted or not, or UNIX. The only differences to those who use it are here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::http::tls::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Of a TCP connection.
    Tcp(TcpStream),
    /// Of a connection to a UNIX socket.
    Unix(UnixStream),
    /// Of an encrypted TCP connection. Boxed: the others are much smaller.
    Tls(Box<TlsStream>),
}

impl Socket {
    /// Has each write sent at once: waiting to fill a packet only delays it.
    pub(super) fn send_at_once(&self) {
        match self {
            Self::Tcp(stream) => drop(stream.set_nodelay(true)),
            Self::Unix(_) | Self::Tls(_) => {}
        }
    }

    /// Whether there may be something to read although none has arrived: what came with the handshake.
    pub(super) fn may_hold_bytes(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Waits until something has arrived.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            Self::Tls(stream) => stream.get_ref().0.stream().readable().await,
        }
    }

    /// Writes what can be written at once. For a last answer: what does not fit is lost.
    pub(super) fn write_now(&mut self, bytes: &[u8]) {
        match self {
            Self::Tcp(stream) => drop(stream.try_write(bytes)),
            Self::Unix(stream) => drop(stream.try_write(bytes)),
            Self::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                if Pin::new(&mut *stream).poll_write(&mut context, bytes).is_ready() {
                    let _unsent = Pin::new(stream).poll_flush(&mut context);
                }
            }
        }
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        if !matches!(self, Self::Unix(_)) {
            let _closed_anyway = rustix::net::sockopt::set_socket_linger(&self, Some(Duration::ZERO));
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn end_writing(&mut self) {
        if let Self::Tls(stream) = self {
            // It says so in the encrypted stream too.
            let _unsent = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
        let _closed = rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Write);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.stream().as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
