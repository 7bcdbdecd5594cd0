//! A result that arrives piece by piece: what its reader sees of it. The channel of the worker feeds it; the reader
//! decides with its credit how much may be on the way.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::invocation::call_failure::CallFailure;

/// Bytes of credit that a stream has at its start.
pub const FIRST_CREDIT: usize = 1024;

/// Bytes that a worker may be ahead of a reader that wants the whole.
const GATHER_WINDOW: usize = 64 << 10;

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An item: the text of a JSON value.
    Item(Bytes),
    /// A part of the text of an item; whether it is the last one.
    Part(Bytes, bool),
    /// Bytes of a response's body.
    Data(Bytes),
}

impl Piece {
    /// The bytes that it counts against the credit.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Item(bytes) | Self::Part(bytes, _) | Self::Data(bytes) => bytes.len(),
        }
    }
}

/// The worker's side of a stream.
pub trait StreamSource: Send + Sync {
    /// Lets the worker send this many bytes more.
    fn grant(&self, bytes: usize);
    /// Ends the stream: its reader has left.
    fn cancel(&self);
}

/// Puts pieces into a stream. It is not bounded by itself: whoever feeds it enforces the credit.
#[derive(Debug)]
pub struct StreamFeed(UnboundedSender<Result<Option<Piece>, CallFailure>>);

impl StreamFeed {
    /// Adds a piece. A reader that has left needs none.
    pub fn add(&self, piece: Piece) {
        let _reader_left = self.0.send(Ok(Some(piece)));
    }

    /// Ends the stream. True if its reader is there.
    pub fn end(self, how: Result<(), CallFailure>) -> bool {
        self.0.send(how.map(|()| None)).is_ok()
    }
}

/// Gets to know how a stream broke off.
type Report = Box<dyn Fn(&CallFailure) + Send + Sync>;

/// A stream, for its reader. Dropping it before its end cancels it.
pub struct Stream {
    /// The envelope of the response whose body the stream is; none for a stream of items.
    pub response: Option<Bytes>,
    pieces: UnboundedReceiver<Result<Option<Piece>, CallFailure>>,
    source: Arc<dyn StreamSource>,
    report: Option<Report>,
    ended: bool,
}

impl Stream {
    /// A stream from this source, and its feed.
    #[must_use]
    pub fn new(response: Option<Bytes>, source: Arc<dyn StreamSource>) -> (Self, StreamFeed) {
        let (feed, pieces) = unbounded_channel();
        (Self { response, pieces, source, report: None, ended: false }, StreamFeed(feed))
    }

    /// Has a fault reported before its reader sees it.
    pub fn report_faults(&mut self, report: impl Fn(&CallFailure) + Send + Sync + 'static) {
        self.report = Some(Box::new(report));
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    ///
    /// The stream broke off.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Piece>, CallFailure>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let piece = ready!(self.pieces.poll_recv(context)).unwrap_or(Err(CallFailure::Stopped));
        self.ended = !matches!(piece, Ok(Some(_)));
        if let (Err(fault), Some(report)) = (&piece, &self.report) {
            report(fault);
        }
        Poll::Ready(piece)
    }

    /// As [`Self::poll_piece`]. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Option<Piece>, CallFailure> {
        std::future::poll_fn(|context| self.poll_piece(context)).await
    }

    /// Drops the stream without cancelling it.
    pub fn forget(mut self) {
        self.ended = true;
    }

    /// Lets the worker send this many bytes more.
    pub fn grant(&self, bytes: usize) {
        if !self.ended {
            self.source.grant(bytes);
        }
    }

    /// Reads the whole stream: a JSON array of its items, or the bytes of its response. None if `admits` refuses what
    /// has come so far.
    ///
    /// # Errors
    ///
    /// The stream broke off.
    pub async fn collect(mut self, mut admits: impl FnMut(&Vec<u8>) -> bool) -> Result<Option<Bytes>, CallFailure> {
        let is_list = self.response.is_none();
        let mut text = Vec::new();
        let mut framing = ArrayFraming::default();
        self.grant(GATHER_WINDOW - FIRST_CREDIT);
        while let Some(piece) = self.next().await? {
            self.grant(piece.size());
            if is_list {
                framing.add(&piece, &mut text);
            } else if let Piece::Data(data) = piece {
                text.extend_from_slice(&data);
            }
            if !admits(&text) {
                return Ok(None);
            }
        }
        if is_list {
            framing.end(&mut text);
        }
        Ok(Some(text.into()))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.source.cancel();
        }
    }
}

/// Writes items as a JSON array.
#[derive(Debug, Default)]
pub struct ArrayFraming {
    begun: bool,
    inside: bool,
}

impl ArrayFraming {
    /// Appends a piece.
    pub fn add(&mut self, piece: &Piece, text: &mut Vec<u8>) {
        if !self.inside {
            text.extend_from_slice(if self.begun { b"," } else { b"[" });
        }
        self.begun = true;
        match piece {
            Piece::Item(bytes) => text.extend_from_slice(bytes),
            Piece::Part(bytes, last) => {
                text.extend_from_slice(bytes);
                self.inside = !last;
            }
            Piece::Data(_) => {}
        }
    }

    /// Appends the end.
    pub fn end(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(if self.begun { b"]" } else { b"[]" });
    }
}

/// How the items of a stream are sent to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// A JSON array.
    Array,
    /// A line for each item: `application/x-ndjson`.
    Lines,
    /// Server-sent events: `text/event-stream`.
    Events,
}

impl StreamFormat {
    /// The format that an `accept` header prefers; an array if it names none.
    #[must_use]
    pub fn of_accept(accept: Option<&[u8]>) -> Self {
        let accept = accept.and_then(|accept| std::str::from_utf8(accept).ok()).unwrap_or_default();
        let mut best = (0.0, Self::Array);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/event-stream" => Self::Events,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
                "application/json" => Self::Array,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            let quality = quality.unwrap_or(0.0);
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<(usize, bool)>);

    impl StreamSource for Noted {
        fn grant(&self, bytes: usize) {
            self.0.lock().0 += bytes;
        }

        fn cancel(&self) {
            self.0.lock().1 = true;
        }
    }

    fn item(text: &'static str) -> Piece {
        Piece::Item(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn items_and_parts_of_items_become_an_array() {
        let source = Arc::new(Noted::default());
        let (stream, feed) = Stream::new(None, Arc::<Noted>::clone(&source));
        feed.add(item("1"));
        for (part, last) in [("{\"a\"", false), (":2", false), ("}", true)] {
            feed.add(Piece::Part(Bytes::from_static(part.as_bytes()), last));
        }
        feed.add(item("3"));
        assert!(feed.end(Ok(())));
        assert_eq!(stream.collect(|text| text.len() < 5000).await.unwrap().unwrap(), "[1,{\"a\":2},3]");
        assert_eq!(*source.0.lock(), (GATHER_WINDOW - FIRST_CREDIT + "1{\"a\":2}3".len(), false));
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_before_its_end_is_cancelled() {
        for (ends, cancelled) in [(true, false), (false, true)] {
            let source = Arc::new(Noted::default());
            let (mut stream, feed) = Stream::new(None, Arc::<Noted>::clone(&source));
            feed.add(item("1"));
            assert_eq!(stream.next().await.unwrap(), Some(item("1")));
            if ends {
                feed.end(Ok(()));
                assert_eq!(stream.next().await.unwrap(), None);
            }
            drop(stream);
            assert_eq!(source.0.lock().1, cancelled);
        }
    }

    #[test]
    fn the_accept_header_chooses_the_format() {
        for (accept, format) in [
            ("", StreamFormat::Array),
            ("*/*", StreamFormat::Array),
            ("text/html, application/json", StreamFormat::Array),
            ("text/event-stream", StreamFormat::Events),
            ("TEXT/Event-Stream; charset=utf-8", StreamFormat::Events),
            ("application/json;q=0.5, application/x-ndjson", StreamFormat::Lines),
            ("text/event-stream;q=0.1, application/json;q=0.2", StreamFormat::Array),
            ("text/event-stream;q=0", StreamFormat::Array),
            ("text/event-stream;q=x", StreamFormat::Array),
        ] {
            assert_eq!(StreamFormat::of_accept(Some(accept.as_bytes())), format, "{accept}");
        }
    }

    #[tokio::test]
    async fn a_feed_that_is_dropped_breaks_the_stream() {
        let (mut stream, feed) = Stream::new(None, Arc::new(Noted::default()));
        drop(feed);
        assert!(matches!(stream.next().await, Err(CallFailure::Stopped)));
    }
}
