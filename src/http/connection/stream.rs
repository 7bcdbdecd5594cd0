//! The bytes of one HTTP/1 connection, with deadlines: for the first byte, for a whole head, between requests, and for
//! a client that does not read. `framing` checks heads before hyper sees them.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::connection::activity::Activity;
use crate::http::connection::framing::Framing;
use crate::http::connection::open_connections::{self, LAST_LINGER};
use crate::http::connection::socket::Socket;
use crate::http::problem::{self, Problem};
use crate::http::request_id;
use crate::http::response_headers::{self, After};

/// How long a client may not read its answer before its connection is closed.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long, and how many bytes, of a refused request are read after the answer. Many clients send the whole request
/// before they read, and closing the connection on unread bytes would make them lose the answer.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 256 * 1024 * 1024;
const READ_SIZE: usize = 64 * 1024;
/// The idle time after which a connection gives back its buffers. Clients in a conversation are faster.
const PARK: Duration = Duration::from_millis(200);

thread_local! {
    /// The buffer that all connections of this thread read into. Bytes are checked before hyper gets them, and a
    /// buffer for each idle connection would cost its memory.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Time for the first byte, and for a whole head.
    pub head: Duration,
    /// Time between requests.
    pub idle: Duration,
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub struct Stream {
    io: Socket,
    /// Bytes that were read to decide between HTTP/1 and HTTP/2.
    early: Bytes,
    framing: Framing,
    activity: Arc<Activity>,
    deadlines: Deadlines,
    timer: Pin<Box<Sleep>>,
    /// When the current wait for a first byte or a head began.
    since: Instant,
    waiting: Waiting,
    /// The answer to a refused head, until its turn after earlier answers.
    refused: Option<Problem>,
    /// The time of the last write: the idle time starts there.
    wrote: Instant,
    /// An answer was written in part and not flushed yet.
    writing: bool,
    /// Since when the client has accepted no bytes.
    stalled: Option<Instant>,
    /// While the rest of a refused request is read: until when, and the bytes so far.
    lingered: Option<(Instant, usize)>,
}

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    FirstByte,
    Head,
    Idle,
    /// Not the client: the service reads the body or makes the answer, with deadlines of its own.
    Serving,
}

impl Stream {
    /// A connection whose bytes `early` were already read.
    #[must_use]
    pub fn new(io: Socket, early: Bytes, activity: Arc<Activity>, deadlines: Deadlines) -> Self {
        let now = Instant::now();
        Self {
            io,
            early,
            framing: Framing::default(),
            activity,
            deadlines,
            timer: Box::pin(tokio::time::sleep_until(now + deadlines.head)),
            since: now,
            waiting: Waiting::FirstByte,
            refused: None,
            wrote: now,
            writing: false,
            stalled: None,
            lingered: None,
        }
    }

    /// Checks new bytes. Returns how many of them hyper may see.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let good = match self.framing.follow(bytes) {
            Ok(()) => bytes.len(),
            Err(refused) => {
                self.refused = Some(refused.problem);
                refused.good
            }
        };
        if self.framing.is_in_head() && self.waiting != Waiting::Head {
            self.waiting = Waiting::Head;
            self.since = Instant::now();
        }
        good
    }

    /// Answers without hyper, and closes the connection. Earlier answers must have been flushed.
    fn answer_by_itself(&mut self, problem: Problem) {
        let response = problem_text(problem);
        // One write that does not wait: a client that has not read earlier answers may miss this one.
        self.io.write_now(&response);
        self.io.end_writing();
        self.lingered = Some((Instant::now() + LINGER, 0));
    }

    /// The deadline of the current wait, if the connection waits for the client.
    fn due(&mut self) -> Option<Instant> {
        let waiting = if self.activity.is_serving() || self.writing {
            Waiting::Serving
        } else if self.framing.is_in_head() {
            Waiting::Head
        } else if self.waiting == Waiting::FirstByte && self.framing.is_between_requests() {
            Waiting::FirstByte
        } else {
            Waiting::Idle
        };
        if waiting != self.waiting {
            self.since = Instant::now();
            self.waiting = waiting;
        }
        match waiting {
            Waiting::FirstByte | Waiting::Head | Waiting::Idle if self.activity.ends_idle() => Some(self.since),
            Waiting::FirstByte | Waiting::Head => Some(self.since + self.deadlines.head),
            Waiting::Idle => Some(self.wrote + self.deadlines.idle),
            Waiting::Serving => None,
        }
    }

    /// Ready when `due` has passed. A timer that is set to an earlier time is not reset: most waits end long before
    /// their deadline, and resetting a timer for each read would cost time.
    fn poll_due(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        loop {
            if self.timer.deadline() > due {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(context));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }

    /// Reads the rest of a refused request, within limits. Closing a socket with unread bytes resets the connection,
    /// and the client loses an answer that it has not read.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some((until, read)) = self.lingered {
            ready!(self.activity.turn.poll_read(context));
            let more = SCRATCH.with_borrow_mut(|scratch| {
                let mut space = ReadBuf::new(scratch);
                match Pin::new(&mut self.io).poll_read(context, &mut space) {
                    Poll::Ready(Ok(())) => Some(space.filled().len()),
                    Poll::Ready(Err(_)) => Some(0),
                    Poll::Pending => None,
                }
            });
            match more {
                Some(count) if count > 0 && read + count < LINGER_BYTES => {
                    self.activity.turn.note_read(count);
                    self.lingered = Some((until, read + count));
                }
                Some(_) => break,
                None => return self.poll_due(context, until),
            }
        }
        Poll::Ready(())
    }

    /// Waits for the client: ready when a deadline has passed.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.wants_to_park() {
            ready!(self.poll_due(context, self.wrote + PARK));
            // The connection's task looks at this after the poll, so nothing needs to wake it.
            self.activity.parked.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            // Nothing is due while a request is served, but the timer must wake this task after it.
            let due = self.due().unwrap_or(now + self.deadlines.idle);
            if now >= due {
                return Poll::Ready(());
            }
            ready!(self.poll_due(context, due));
        }
    }

    /// Whether nothing happens on the connection, and it has not given back its buffers yet.
    fn wants_to_park(&mut self) -> bool {
        let nothing_due = self.due().is_some() && self.waiting == Waiting::Idle;
        let may_wait = PARK < self.deadlines.idle && !self.activity.ends_idle();
        nothing_due && self.framing.is_between_requests() && may_wait
    }

    /// Waits for the next request of a parked connection; false if it does not come in time.
    pub async fn wait_for_request(&mut self) -> bool {
        self.activity.parked.store(false, Ordering::Relaxed);
        let due = self.wrote + self.deadlines.idle;
        tokio::time::timeout_at(due, self.io.readable()).await.is_ok_and(|readable| readable.is_ok())
    }

    /// Ends the connection with a reset: an answer that ends with the connection must not look complete.
    pub fn reset(self) {
        self.io.reset();
    }

    /// Ends a parked connection because the gateway stops.
    pub async fn close(mut self) {
        open_connections::close(&mut self.io).await;
    }

    fn note_written(&mut self) {
        self.stalled = None;
        self.wrote = Instant::now();
        self.writing = true;
    }

    fn poll_write_stall(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.poll_due(context, since + WRITE_STALL));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.refused.is_some() && (this.activity.is_serving() || this.writing) {
                this.activity.reader.register(context.waker());
                return Poll::Pending;
            }
            if let Some(problem) = this.refused.take() {
                this.answer_by_itself(problem);
            }
            if this.lingered.is_some() {
                ready!(this.poll_linger(context));
                return Poll::Ready(Ok(()));
            }
            ready!(this.activity.turn.poll_read(context));
            let room = buffer.remaining().min(READ_SIZE);
            if !this.early.is_empty() {
                let early = this.early.split_to(room.min(this.early.len()));
                let good = this.follow(&early);
                buffer.put_slice(&early[..good]);
                if good > 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut space = ReadBuf::new(&mut scratch[..room]);
                ready!(Pin::new(&mut this.io).poll_read(context, &mut space))?;
                let bytes = space.filled();
                let good = this.follow(bytes);
                buffer.put_slice(&bytes[..good]);
                Poll::Ready(io::Result::Ok((bytes.len(), good)))
            });
            match read {
                Poll::Ready(Ok((read, good))) => {
                    this.activity.turn.note_read(read);
                    if good > 0 || read == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        this.activity.turn.end();
        ready!(this.poll_wait(context));
        if this.waiting == Waiting::Head {
            let problem = match this.activity.ends_idle() {
                true => problem::draining(),
                false => problem::too_slow(),
            };
            this.answer_by_itself(problem);
        }
        // For hyper the client has closed the connection.
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.io).poll_write(context, bytes) {
            Poll::Ready(result) => {
                this.note_written();
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_write_stall(context).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.io).poll_write_vectored(context, slices) {
            Poll::Ready(result) => {
                this.note_written();
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_write_stall(context).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(flushed) => flushed?,
            // Of an encrypted connection: what was encrypted is not written yet.
            Poll::Pending => return self.poll_write_stall(context).map(Err),
        }
        self.stalled = None;
        self.writing = false;
        if self.refused.is_some() {
            // Earlier answers are flushed: the refused head can be answered.
            self.activity.reader.wake();
        }
        // hyper does not read again after this, so the wait for the next request has to begin here.
        if self.wants_to_park() {
            let park = self.wrote + PARK;
            let _wakes_later = self.poll_due(context, park);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingered.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            let linger = match this.framing.is_between_requests() {
                true if this.activity.draining.load(Ordering::Relaxed) => LAST_LINGER,
                true => return Poll::Ready(Ok(())),
                false => LINGER,
            };
            this.lingered = Some((Instant::now() + linger, 0));
        }
        ready!(this.poll_linger(context));
        Poll::Ready(Ok(()))
    }
}

/// A whole answer as bytes, for the times when hyper is not asked.
#[must_use]
pub fn problem_text(problem: Problem) -> Vec<u8> {
    let id = request_id::fresh();
    let body = problem.body(request_id::text(&id));
    let mut response = problem.into_response(request_id::text(&id));
    response_headers::set(response.headers_mut(), id, After::Close);
    let mut text = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    text
}
