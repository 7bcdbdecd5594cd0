//! Streams on a channel: their pieces find their readers, and what the readers grant and cancel goes to the worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::clock;
use crate::invocation::Returned;
use crate::invocation::stream::{Piece, Stream, StreamSource};
use crate::ipc::client::{Client, Shared};
use crate::ipc::inbox::StreamEvent;
use crate::ipc::message::stream::{cancel_line, credit_line};
use crate::ipc::pending::streams::Fed;

/// The call that a stream answers.
struct Source<S> {
    client: Arc<Client<S>>,
    id: u64,
}

impl<S: Send + 'static> StreamSource for Source<S> {
    fn grant(&self, bytes: usize) {
        let (client, deadline) = (&self.client, clock::now() + self.client.stream_idle);
        let mut shared = client.shared.lock();
        if shared.calls.grant(self.id, bytes, deadline) {
            client.look_at(&mut shared, deadline);
            client.push_line(&mut shared, credit_line(self.id, bytes).as_bytes());
        }
    }

    fn cancel(&self) {
        self.client.cancel(self.id);
    }
}

impl<S: Send + 'static> Client<S> {
    /// The caller of a call, or the reader of its stream, has left. The worker gets to know if it cares.
    pub fn cancel(&self, id: u64) {
        let mut shared = self.shared.lock();
        if let Some(deadline) = shared.calls.leave(id, clock::now()) {
            self.look_at(&mut shared, deadline);
            self.push_line(&mut shared, cancel_line(id).as_bytes());
        }
    }

    /// The caller of a call has left, but how it ends still matters. The worker gets to know if it cares.
    pub fn ask_to_stop(&self, id: u64) {
        let mut shared = self.shared.lock();
        if shared.calls.is_cancellable(id) {
            self.push_line(&mut shared, cancel_line(id).as_bytes());
        }
    }

    /// Takes a message of a stream; false if the worker has sent too many of unknown ones.
    pub(super) fn take_stream_event(&self, id: Option<u64>, event: StreamEvent) -> bool {
        match event {
            StreamEvent::Start(envelope) => self.begin_stream(id, envelope),
            StreamEvent::Piece(piece) => self.feed_stream(id, piece),
            StreamEvent::End => self.end_stream(id),
            StreamEvent::Bad(reason) => {
                self.break_stream(id, &reason);
                true
            }
        }
    }

    fn begin_stream(&self, id: Option<u64>, envelope: Option<Bytes>) -> bool {
        let Some(client) = self.this.upgrade() else { return true };
        let is_body = envelope.is_some();
        let (stream, feed) = Stream::new(envelope, Arc::new(Source { client, id: id.unwrap_or(0) }));
        let now = clock::now();
        let mut shared = self.shared.lock();
        let begun = shared.calls.begin_stream(id, feed, is_body, now, self.stream_idle);
        match begun {
            Ok(reply) => {
                self.look_at(&mut shared, now + self.stream_idle);
                drop(shared);
                // If the caller has left, this drops the stream, which cancels it.
                drop(reply.send(Ok(Returned::Stream(Box::new(stream)))));
                true
            }
            Err(fed) => {
                stream.forget();
                self.count(&mut shared, id, fed)
            }
        }
    }

    fn feed_stream(&self, id: Option<u64>, piece: Piece) -> bool {
        let mut shared = self.shared.lock();
        let fed = shared.calls.feed(id, piece, clock::now(), self.stream_idle);
        self.count(&mut shared, id, fed)
    }

    /// Counts an odd message, and cancels what it broke. False if there are too many.
    fn count(&self, shared: &mut Shared<S>, id: Option<u64>, fed: Fed) -> bool {
        let counter = match fed {
            Fed::Taken => return true,
            Fed::Broken | Fed::Unwanted => {
                let line = id.map(cancel_line).unwrap_or_default();
                self.push_line(shared, line.as_bytes());
                if let Some(deadline) = shared.calls.next_deadline() {
                    self.look_at(shared, deadline);
                }
                &self.counters.bad_pieces
            }
            Fed::Late => &self.counters.late,
            Fed::Unknown { .. } => &self.counters.unknown_ids,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        fed != Fed::Unknown { too_many: true }
    }

    fn end_stream(&self, id: Option<u64>) -> bool {
        self.end_call(id, |call| {
            // The end of a stream that was cancelled is expected, so it counts as answered.
            let _reader_left = call.end_stream();
            true
        })
    }

    fn break_stream(&self, id: Option<u64>, reason: &str) {
        let mut shared = self.shared.lock();
        if shared.calls.break_stream(id, reason, clock::now()) {
            self.count(&mut shared, id, Fed::Broken);
        }
    }
}
