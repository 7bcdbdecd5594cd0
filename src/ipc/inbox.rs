//! The reading half of a worker's channel: bytes become messages. Matching an answer to its call is left to `client`.

use bytes::Bytes;
use rustix::net::RecvFlags;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::invocation::stream::Piece;
use crate::invocation::{CallFailure, Returned};
use crate::ipc::codec::Lines;
use crate::ipc::message::stream::StreamMessage;
use crate::ipc::message::{self, FromWorker};
use crate::json;

/// Bytes of one read after the worker has ended.
const REST_READ_SIZE: usize = 64 * 1024;
/// Bytes of a malformed line that an error quotes.
const QUOTED_LINE: usize = 200;

/// The reading half of a worker's channel; one task owns it and passes it to
/// [`Client::read`](crate::ipc::Client::read).
#[derive(Debug)]
pub struct Inbox {
    stream: OwnedReadHalf,
    lines: Lines,
}

/// What a read gives its caller, apart from answers, which go straight to their calls.
#[derive(Debug)]
pub enum Incoming {
    /// The data of `GetApplicationMetadata`.
    MetaData(Bytes),
    /// The answer to a probe.
    ProbeResult,
    /// The worker asks to be replaced, for this reason.
    Retire(String),
    /// The worker broke the protocol; holds the reason.
    Protocol(String),
    /// The worker closed its end of the channel.
    Closed,
}

/// One message; its values are slices of the line.
#[derive(Debug)]
pub(super) enum Message {
    /// The end of a call. `id` is `None` if the text of the id cannot be one of the gateway's.
    Answer { id: Option<u64>, answer: Result<Returned, CallFailure> },
    /// A message of a stream.
    Stream { id: Option<u64>, event: StreamEvent },
    /// The worker has taken so many bytes of a request's body.
    BodyCredit { id: Option<u64>, bytes: usize },
    /// The data of `GetApplicationMetadata`.
    MetaData(Bytes),
    /// The answer to a probe.
    ProbeResult,
    /// The worker asks to be replaced, for this reason.
    Retire(String),
    /// A message of this unknown type.
    Unknown(String),
    /// Not a message; holds the reason. Framing is lost from here on.
    Malformed(String),
}

/// What a message says of a stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// It begins; the envelope of its response, if it is the body of one.
    Start(Option<Bytes>),
    /// A piece has come.
    Piece(Piece),
    /// It ends.
    End,
    /// The worker broke the protocol in this stream; holds the reason.
    Bad(String),
}

impl Inbox {
    /// Reads from `stream`; lines may have `max_line` bytes.
    pub(super) fn new(stream: OwnedReadHalf, max_line: usize) -> Self {
        Self { stream, lines: Lines::new(max_line) }
    }

    /// The next message of the bytes read so far, or `None` if they hold no whole line.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        match self.lines.next_line() {
            Ok(line) => line.map(|line| parse(&line)),
            Err(error) => Some(Message::Malformed(error.to_string())),
        }
    }

    /// Waits for more bytes; false at the end of the stream. Cancelling it loses no byte.
    pub(super) async fn fill(&mut self) -> bool {
        // The kernel reports a peer that died with unread data as ECONNRESET, so an error is an end as well.
        self.stream.read_buf(self.lines.space()).await.is_ok_and(|count| count > 0)
    }

    /// Reads what the kernel holds without waiting; false if it holds nothing.
    pub(super) fn fill_from_kernel(&mut self) -> bool {
        let mut buffer = vec![0; REST_READ_SIZE];
        // recv(2) instead of `try_read`: that one returns WouldBlock until tokio's reactor has seen the socket become
        // readable, which may not have happened yet when the worker's exit is noticed first.
        let stream: &UnixStream = self.stream.as_ref();
        match rustix::net::recv(stream, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, count)) if count > 0 => {
                self.lines.space().extend_from_slice(&buffer[..count]);
                true
            }
            _ => false,
        }
    }
}

fn parse(line: &Bytes) -> Message {
    match message::parse(line) {
        Ok(FromWorker::Result { id, value }) => {
            Message::Answer { id, answer: Ok(Returned::Value(value.map(|range| line.slice(range)))) }
        }
        Ok(FromWorker::Response { id, envelope }) => {
            Message::Answer { id, answer: Ok(Returned::Response(line.slice(envelope))) }
        }
        Ok(FromWorker::Error { id, error }) => {
            Message::Answer { id, answer: Err(CallFailure::Function(Box::new(error))) }
        }
        Ok(FromWorker::TooDeep { id }) => {
            let reason = format!("answered with a value of more than {} levels", json::MAX_DEPTH);
            Message::Answer { id, answer: Err(CallFailure::Protocol(reason.into())) }
        }
        Ok(FromWorker::Stream { id, message }) => Message::Stream { id, event: event(line, message) },
        Ok(FromWorker::BodyCredit { id, bytes }) => Message::BodyCredit { id, bytes },
        Ok(FromWorker::MetaData(range)) => Message::MetaData(line.slice(range)),
        Ok(FromWorker::ProbeResult) => Message::ProbeResult,
        Ok(FromWorker::Retire(reason)) => Message::Retire(reason),
        Ok(FromWorker::Unknown(kind)) => Message::Unknown(kind),
        Err(error) => {
            // The line may hold anything, terminal escapes included, and the reason goes to logs.
            let start = String::from_utf8_lossy(&line[..line.len().min(QUOTED_LINE)]).escape_debug().to_string();
            Message::Malformed(format!("{error}: {start}"))
        }
    }
}

fn event(line: &Bytes, message: StreamMessage) -> StreamEvent {
    match message {
        StreamMessage::Start(envelope) => StreamEvent::Start(envelope.map(|range| line.slice(range))),
        // Copied: a slice would keep the whole buffer of the channel as long as its reader is slow.
        StreamMessage::Item(range) => StreamEvent::Piece(Piece::Item(Bytes::copy_from_slice(&line[range]))),
        StreamMessage::Part(text, last) => StreamEvent::Piece(Piece::Part(text.into(), last)),
        StreamMessage::Data(bytes) => StreamEvent::Piece(Piece::Data(bytes.into())),
        StreamMessage::End => StreamEvent::End,
        StreamMessage::Bad(reason) => StreamEvent::Bad(reason),
    }
}
