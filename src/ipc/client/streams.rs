//! Streams on a channel: their pieces find their readers, and what the readers grant and cancel goes to the worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::clock;
use crate::invocation::Returned;
use crate::invocation::stream::{Piece, Stream, StreamSource};
use crate::ipc::client::Client;
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
            StreamEvent::Start(envelope) => {
                self.begin_stream(id, envelope);
                true
            }
            StreamEvent::Piece(piece) => self.feed_stream(id, piece),
            StreamEvent::End => self.end_stream(id),
            StreamEvent::Bad(reason) => {
                self.break_stream(id, &reason);
                true
            }
        }
    }

    fn begin_stream(&self, id: Option<u64>, envelope: Option<Bytes>) {
        let (Some(id), Some(client)) = (id, self.this.upgrade()) else { return };
        let (stream, feed) = Stream::new(envelope, Arc::new(Source { client, id }));
        let deadline = clock::now() + self.stream_idle;
        let mut shared = self.shared.lock();
        let reply = shared.calls.begin_stream(id, feed, deadline);
        self.look_at(&mut shared, deadline);
        drop(shared);
        match reply {
            // If the caller has left, this drops the stream, which cancels it.
            Some(reply) => drop(reply.send(Ok(Returned::Stream(Box::new(stream))))),
            // Not of a call that waits: there is nothing to cancel.
            None => stream.forget(),
        }
    }

    fn feed_stream(&self, id: Option<u64>, piece: Piece) -> bool {
        let mut shared = self.shared.lock();
        match shared.calls.feed(id, piece, clock::now(), self.stream_idle) {
            Fed::Taken => true,
            Fed::Broken => {
                let line = id.map(cancel_line).unwrap_or_default();
                self.push_line(&mut shared, line.as_bytes());
                true
            }
            Fed::Late => {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
                true
            }
            Fed::Unknown { too_many } => {
                self.counters.unknown_ids.fetch_add(1, Ordering::Relaxed);
                !too_many
            }
        }
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
        if let Some(id) = id.filter(|id| shared.calls.break_stream(Some(*id), reason, clock::now())) {
            self.push_line(&mut shared, cancel_line(id).as_bytes());
        }
    }
}
