//! One worker's side of the gateway: calls go out as lines, answers come back and are handed to `pending`. Sending never
//! waits: a line goes into the outbox, and whoever holds the right to write empties it, so a line is written whole or the
//! worker is given up.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::net::RecvFlags;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::invocation::Returned;
use crate::ipc::codec::Lines;
use crate::ipc::message::{self, Call, FromWorker};
use crate::ipc::outcome::{CallFailure, Counters, Incoming, Overdue, SendError, WriteEnd};
use crate::ipc::pending::{Answered, PendingCalls, Reply};
use crate::json;

/// Lines that wait for the worker to read, in bytes; beyond it a call is refused. One call alone may be larger.
const OUTBOX_LIMIT: usize = 8 * 1024 * 1024;
/// Up to this many calls on the way, a caller writes by itself; beyond it the writer task gathers them into one write.
const DIRECT_CALLS: usize = 8;
/// How long a write may make no progress before the worker counts as stuck.
const WRITE_STALL: Duration = Duration::from_secs(5);
/// Bytes read at once when a worker has ended.
const READ_REST: usize = 64 * 1024;
/// A buffer larger than this is given back after it was written.
const KEEP_BUFFER: usize = 64 * 1024;

/// What comes from a worker: one task reads it, with [`Client::read`].
#[derive(Debug)]
pub struct Inbox {
    stream: OwnedReadHalf,
    lines: Lines,
}

/// A worker's channel. `S` is kept with each call until the worker has answered it or its time is over: the call's slot.
pub struct Client<S> {
    stream: OwnedWriteHalf,
    shared: Mutex<Shared<S>>,
    wake_writer: Notify,
    wake_clock: Notify,
    drained: Notify,
    /// What it counted.
    pub counters: Counters,
}

struct Shared<S> {
    calls: PendingCalls<S>,
    outbox: Vec<u8>,
    /// The first call whose line is in the outbox: it and all later ones are not yet written.
    first_unwritten: u64,
    /// Someone holds the right to write.
    writing: bool,
    closed: bool,
    /// Writing has failed: the writer task has to tell.
    unwritable: bool,
    /// When the clock looks next; nothing is due before.
    next_look: Option<Instant>,
}

impl<S> Client<S> {
    /// Takes over the gateway's end of a channel. Lines from the worker may have `max_line` bytes.
    #[must_use]
    pub fn new(channel: UnixStream, max_line: usize) -> (Self, Inbox) {
        let (read, stream) = channel.into_split();
        let client = Self {
            stream,
            shared: Mutex::new(Shared {
                calls: PendingCalls::default(),
                outbox: Vec::new(),
                first_unwritten: 1,
                writing: false,
                closed: false,
                unwritable: false,
                next_look: None,
            }),
            wake_writer: Notify::new(),
            wake_clock: Notify::new(),
            drained: Notify::new(),
            counters: Counters::default(),
        };
        (client, Inbox { stream: read, lines: Lines::new(max_line) })
    }

    /// Sends a call.
    pub fn call(&self, call: &Call<'_>, deadline: Instant, slot: S) -> Result<Reply, SendError> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Err(SendError::Closed);
        }
        if !shared.outbox.is_empty() && shared.outbox.len() + call.arguments.len() > OUTBOX_LIMIT {
            return Err(SendError::Full);
        }
        let (id, answer) = shared.calls.add(deadline, slot);
        if shared.outbox.is_empty() {
            shared.first_unwritten = id;
        }
        call.write(&mut shared.outbox, id);
        if shared.next_look.is_none_or(|at| deadline < at) {
            shared.next_look = Some(deadline);
            self.wake_clock.notify_one();
        }
        if shared.writing {
            return Ok(answer);
        }
        shared.writing = true;
        if shared.calls.len() > DIRECT_CALLS {
            self.wake_writer.notify_one();
            return Ok(answer);
        }
        let line = std::mem::take(&mut shared.outbox);
        drop(shared);
        self.write_directly(line, id);
        Ok(answer)
    }

    /// Puts a whole line that is no call into the outbox.
    pub fn send_line(&self, line: &[u8]) {
        let mut shared = self.shared.lock();
        if shared.closed {
            return;
        }
        if shared.outbox.is_empty() {
            shared.first_unwritten = shared.calls.next_id();
        }
        shared.outbox.extend_from_slice(line);
        if !std::mem::replace(&mut shared.writing, true) {
            self.wake_writer.notify_one();
        }
    }

    /// One try without waiting, by the caller who got the right to write; what is left goes to the writer task.
    fn write_directly(&self, mut line: Vec<u8>, id: u64) {
        let written = match self.stream.try_write(&line) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.close_unwritten(id);
                return;
            }
        };
        let mut shared = self.shared.lock();
        if written == line.len() {
            if shared.outbox.is_empty() {
                line.clear();
                shared.outbox = line;
                shared.writing = false;
                return;
            }
        } else {
            let later = std::mem::take(&mut shared.outbox);
            line.drain(..written);
            line.extend_from_slice(&later);
            shared.outbox = line;
            shared.first_unwritten = if written > 0 { id + 1 } else { id };
        }
        drop(shared);
        self.wake_writer.notify_one();
    }

    /// Writes what is in the outbox, all that waits in one write, for as long as the channel is open.
    /// Returns when the worker's end is closed or has not read for too long.
    pub async fn write_loop(&self) -> WriteEnd {
        loop {
            self.wake_writer.notified().await;
            // Callers that are ready now get their lines into the same write.
            tokio::task::yield_now().await;
            loop {
                let (batch, first) = {
                    let mut shared = self.shared.lock();
                    if shared.unwritable {
                        return WriteEnd::Closed;
                    }
                    if shared.outbox.is_empty() {
                        shared.writing = false;
                        break;
                    }
                    (std::mem::take(&mut shared.outbox), shared.first_unwritten)
                };
                match self.write_batch(batch, first).await {
                    Ok(mut buffer) => {
                        let mut shared = self.shared.lock();
                        if shared.outbox.is_empty() && buffer.capacity() <= KEEP_BUFFER {
                            buffer.clear();
                            shared.outbox = buffer;
                        }
                    }
                    Err(end) => return end,
                }
            }
        }
    }

    async fn write_batch(&self, batch: Vec<u8>, first: u64) -> Result<Vec<u8>, WriteEnd> {
        let mut written = 0;
        while written < batch.len() {
            match self.stream.try_write(&batch[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match tokio::time::timeout(WRITE_STALL, self.stream.writable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(WriteEnd::Closed),
                        Err(_) => return Err(WriteEnd::Stalled),
                    }
                }
                Err(_) => {
                    let later = {
                        let shared = self.shared.lock();
                        if shared.outbox.is_empty() { shared.calls.next_id() } else { shared.first_unwritten }
                    };
                    self.close_unwritten(if written == 0 { first } else { later });
                    return Err(WriteEnd::Closed);
                }
            }
        }
        Ok(batch)
    }

    /// The worker's end is closed: no more calls, and those whose line never left are free to go elsewhere.
    fn close_unwritten(&self, first_unsent: u64) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        shared.unwritable = true;
        // A worker may have closed one direction only: reading alone would never show that it is lost.
        self.wake_writer.notify_one();
        let unsent = shared.calls.from_id(first_unsent);
        drop(shared);
        for call in unsent {
            call.tell(Err(CallFailure::Unsent));
        }
    }

    /// Reads until something comes that is not an answer to a call. Cancelling it loses nothing.
    pub async fn read(&self, inbox: &mut Inbox) -> Incoming {
        loop {
            if let Some(incoming) = self.take_lines(&mut inbox.lines) {
                return incoming;
            }
            // A dead peer shows as ECONNRESET as well as an end.
            if inbox.stream.read_buf(inbox.lines.space()).await.is_ok_and(|count| count > 0) {
                continue;
            }
            return Incoming::Closed;
        }
    }

    /// Reads what is there without waiting: the last words of a worker that has ended.
    pub fn read_rest(&self, inbox: &mut Inbox) -> Option<Incoming> {
        let mut last_words = vec![0; READ_REST];
        loop {
            match self.take_lines(&mut inbox.lines) {
                Some(Incoming::ProbeResult) => continue,
                None => {}
                other => return other,
            }
            // Asked of the kernel itself: tokio may not have heard yet that there is something to read.
            let stream: &UnixStream = inbox.stream.as_ref();
            match rustix::net::recv(stream, &mut last_words[..], RecvFlags::DONTWAIT) {
                Ok((_, count)) if count > 0 => inbox.lines.space().extend_from_slice(&last_words[..count]),
                _ => return None,
            }
        }
    }

    fn take_lines(&self, lines: &mut Lines) -> Option<Incoming> {
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return None,
                Err(error) => return Some(Incoming::Protocol(error.to_string())),
            };
            let trusted = match message::parse(&line) {
                Ok(FromWorker::Result { id, value }) => {
                    self.answer(id, Ok(Returned(value.map(|range| line.slice(range)))))
                }
                Ok(FromWorker::Error { id, error }) => self.answer(id, Err(CallFailure::Function(Box::new(error)))),
                Ok(FromWorker::TooDeep { id }) => {
                    let how = format!("answered with more than {} levels", json::MAX_DEPTH);
                    self.answer(id, Err(CallFailure::Protocol(how.into())))
                }
                Ok(_) if self.shared.lock().calls.odd_message(Instant::now()) => {
                    return Some(Incoming::Protocol("too many messages that answer no call".to_owned()));
                }
                Ok(FromWorker::MetaData(range)) => return Some(Incoming::MetaData(line.slice(range))),
                Ok(FromWorker::ProbeResult) => return Some(Incoming::ProbeResult),
                Ok(FromWorker::Unknown(kind)) => {
                    if self.counters.unknown_types.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(kind = %kind.escape_debug(), "ignored a message of an unknown type");
                    }
                    true
                }
                Err(error) => {
                    let start = String::from_utf8_lossy(&line[..line.len().min(200)]).escape_debug().to_string();
                    return Some(Incoming::Protocol(format!("{error}: {start}")));
                }
            };
            if !trusted {
                return Some(Incoming::Protocol("too many answers to unknown calls".to_owned()));
            }
        }
    }

    /// Hands an answer to its caller; false when the worker answers too many calls that never were.
    fn answer(&self, id: Option<u64>, answer: Result<Returned, CallFailure>) -> bool {
        let mut shared = self.shared.lock();
        let answered = shared.calls.answered(id, Instant::now);
        self.notice_drained(&shared);
        drop(shared);
        match answered {
            Answered::Call(call) => {
                self.counters.answered.fetch_add(1, Ordering::Relaxed);
                if !call.tell(answer) {
                    self.counters.late.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Answered::Late => {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
                true
            }
            Answered::Unknown { too_many } => {
                self.counters.unknown_ids.fetch_add(1, Ordering::Relaxed);
                !too_many
            }
        }
    }

    fn notice_drained(&self, shared: &Shared<S>) {
        if shared.closed && shared.calls.is_empty() {
            self.drained.notify_one();
        }
    }

    /// Waits until calls run out of time and ends them. Cancelling it loses nothing.
    pub async fn overdue(&self) -> Overdue {
        loop {
            let next = self.shared.lock().next_look;
            match next {
                None => self.wake_clock.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.wake_clock.notified() => continue,
                    }
                }
            }
            let calls = self.end_overdue(Instant::now());
            if calls > 0 {
                return Overdue { calls };
            }
        }
    }

    fn end_overdue(&self, now: Instant) -> usize {
        let mut shared = self.shared.lock();
        let overdue = shared.calls.overdue(now);
        shared.next_look = shared.calls.next_deadline();
        self.notice_drained(&shared);
        drop(shared);
        let count = overdue.len();
        for call in overdue {
            call.tell(Err(CallFailure::TimedOut));
        }
        count
    }

    /// How many calls in a row ran out of time, and how many of all that did are still unanswered.
    pub fn timeouts(&self) -> (u32, usize) {
        self.shared.lock().calls.timeouts()
    }

    /// When the time of the call ran out that the worker has left without answer the longest.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.shared.lock().calls.stuck_since()
    }

    /// Takes no more calls; those on the way go on. [`Client::drained`] tells when they are over.
    pub fn refuse_calls(&self) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        self.notice_drained(&shared);
    }

    /// Waits until no call is on its way, once calls are refused.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }

    /// Ends every call that is on its way.
    pub fn fail_all(&self, failure: &CallFailure) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        let calls = shared.calls.from_id(0);
        drop(shared);
        for call in calls {
            call.tell(Err(failure.clone()));
        }
    }

    /// Tells the worker that nothing more will come.
    pub fn shut_down_writing(&self) {
        if let Err(error) = rustix::net::shutdown(self.stream.as_ref(), rustix::net::Shutdown::Write) {
            tracing::debug!(%error, "the worker's end was closed already");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use std::sync::Arc;

    use super::*;

    fn pair() -> (Arc<Client<()>>, Inbox, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (client, inbox) = Client::new(ours, 1024 * 1024);
        (Arc::new(client), inbox, theirs)
    }

    fn f(arguments: &[u8]) -> Call<'_> {
        Call::new("\"f\"", arguments)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn many_calls_go_out_in_order_and_their_answers_find_them() {
        let (client, mut inbox, theirs) = pair();
        let writing = Arc::clone(&client);
        tokio::spawn(async move { writing.write_loop().await });
        tokio::spawn(async move {
            let (read, mut write) = theirs.into_split();
            let mut lines = BufReader::new(read).lines();
            let mut expected = 1;
            while let Some(line) = lines.next_line().await.unwrap() {
                let id = format!("\"id\":\"{expected}\"");
                assert!(line.contains(&id), "{line}");
                let answer = format!("{{\"type\":\"FunctionInvokeResult\",\"data\":{{{id},\"result\":{expected}}}}}\n");
                write.write_all(answer.as_bytes()).await.unwrap();
                expected += 1;
            }
        });
        let reading = Arc::clone(&client);
        tokio::spawn(async move { reading.read(&mut inbox).await });
        let big = format!("[\"{}\"]", "x".repeat(300_000));
        let mut replies = Vec::new();
        for number in 0..100 {
            let arguments = if number % 10 == 0 { big.as_bytes() } else { b"[]" };
            replies.push(client.call(&f(arguments), soon(), ()).unwrap());
        }
        for (number, reply) in replies.into_iter().enumerate() {
            let text = reply.await.unwrap().unwrap().0.unwrap();
            assert_eq!(text, (number + 1).to_string());
        }
    }

    #[tokio::test]
    async fn calls_that_never_left_are_free_to_go_elsewhere() {
        let (client, _inbox, theirs) = pair();
        drop(theirs);
        let first = client.call(&f(b"[]"), soon(), ()).unwrap();
        assert!(matches!(first.await.unwrap(), Err(CallFailure::Unsent)));
        assert_eq!(client.call(&f(b"[]"), soon(), ()).unwrap_err(), SendError::Closed);
    }

    #[tokio::test]
    async fn arguments_that_look_like_calls_do_not_make_written_calls_unsent() {
        let (client, _inbox, theirs) = pair();
        let mut written = client.call(&f(b"[]"), soon(), ()).unwrap();
        drop(theirs);
        let sneaky = b"[{\"type\":\"CallFunction\"},{\"type\":\"CallFunction\"}]";
        let unsent = client.call(&f(sneaky), soon(), ()).unwrap();
        assert!(matches!(unsent.await.unwrap(), Err(CallFailure::Unsent)));
        assert!(written.try_recv().is_err(), "the first call's line had left: it may have run");
    }

    #[tokio::test]
    async fn a_worker_that_only_stops_reading_is_told_of() {
        let (client, _inbox, theirs) = pair();
        rustix::net::shutdown(&theirs, rustix::net::Shutdown::Read).unwrap();
        let call = client.call(&f(b"[]"), soon(), ()).unwrap();
        assert!(matches!(call.await.unwrap(), Err(CallFailure::Unsent)));
        let end = tokio::time::timeout(Duration::from_secs(5), client.write_loop()).await;
        assert_eq!(end.unwrap(), WriteEnd::Closed);
    }

    #[tokio::test]
    async fn a_worker_that_does_not_read_is_given_no_more_than_the_outbox_holds() {
        let (client, _inbox, _theirs) = pair();
        let big = format!("[\"{}\"]", "x".repeat(OUTBOX_LIMIT / 4));
        let taken = (0..20).take_while(|_| client.call(&f(big.as_bytes()), soon(), ()).is_ok()).count();
        assert!((4..=6).contains(&taken), "{taken}");
        assert_eq!(client.call(&f(big.as_bytes()), soon(), ()).unwrap_err(), SendError::Full);
    }

    #[tokio::test]
    async fn calls_run_out_of_time_one_after_the_other_and_drain() {
        let (client, _inbox, _theirs) = pair();
        let later = client.call(&f(b"[]"), Instant::now() + Duration::from_millis(40), ()).unwrap();
        let sooner = client.call(&f(b"[]"), Instant::now() + Duration::from_millis(10), ()).unwrap();
        client.refuse_calls();
        assert_eq!(client.overdue().await.calls, 1);
        assert!(matches!(sooner.await.unwrap(), Err(CallFailure::TimedOut)));
        assert_eq!(client.overdue().await.calls, 1);
        assert!(matches!(later.await.unwrap(), Err(CallFailure::TimedOut)));
        client.drained().await;
        assert_eq!(client.timeouts(), (2, 2));
    }

    #[tokio::test]
    async fn a_flood_of_messages_that_answer_nothing_breaks_the_protocol() {
        let (client, mut inbox, mut theirs) = pair();
        let flood = b"{\"type\":\"Noise\"}\n".repeat(2000);
        tokio::spawn(async move { theirs.write_all(&flood).await });
        let end = tokio::time::timeout(Duration::from_secs(5), client.read(&mut inbox)).await.unwrap();
        assert!(matches!(&end, Incoming::Protocol(how) if how.contains("answer no call")), "{end:?}");
    }

    #[tokio::test]
    async fn the_last_words_of_a_worker_are_read() {
        let (client, mut inbox, mut theirs) = pair();
        let reply = client.call(&f(b"[]"), soon(), ()).unwrap();
        theirs
            .write_all(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"1\",\"result\":7}}\nhalf")
            .await
            .unwrap();
        drop(theirs);
        assert!(client.read_rest(&mut inbox).is_none());
        assert_eq!(reply.await.unwrap().unwrap().0.unwrap(), "7");
    }
}
