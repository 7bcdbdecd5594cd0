//! Writing to a worker: lines leave the outbox whole, in one write where they can.

use std::io;
use std::time::Duration;

use crate::invocation::CallFailure;
use crate::ipc::client::Client;
use crate::ipc::outbox::{Batch, WriteEnd};

/// How long a write may make no progress before the worker counts as stuck.
const WRITE_STALL: Duration = Duration::from_secs(5);

impl<S: Send + 'static> Client<S> {
    /// Tries once to write a caller's own line; the writer task writes what the kernel did not accept.
    pub(super) fn write_directly(&self, batch: Batch) {
        let written = match self.stream.try_write(&batch.bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.fail_unsent(batch.first_call);
                return;
            }
        };
        let done = self.shared.lock().outbox.finish_direct(batch, written);
        if !done {
            self.wake_writer.notify_one();
        }
    }

    /// Writes what waits in the outbox, each time all of it in one write. Returns when the worker has closed its end or
    /// has not read for 5 s.
    pub async fn write_loop(&self) -> WriteEnd {
        loop {
            self.wake_writer.notified().await;
            // Callers that are ready to run now get their lines into the same write.
            tokio::task::yield_now().await;
            loop {
                let batch = {
                    let mut shared = self.shared.lock();
                    if shared.unwritable {
                        return WriteEnd::Closed;
                    }
                    match shared.outbox.next_batch() {
                        Some(batch) => batch,
                        None => break,
                    }
                };
                match self.write_batch(batch).await {
                    Ok(buffer) => self.shared.lock().outbox.recycle(buffer),
                    Err(end) => return end,
                }
            }
        }
    }

    async fn write_batch(&self, batch: Batch) -> Result<Vec<u8>, WriteEnd> {
        let Batch { bytes, first_call } = batch;
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.try_write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match tokio::time::timeout(WRITE_STALL, self.stream.writable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(WriteEnd::Closed),
                        Err(_) => return Err(WriteEnd::Stalled),
                    }
                }
                Err(_) => {
                    // Once a byte of the batch is written, any call in it may have run: only those behind it are
                    // unsent.
                    let first_unsent = if written == 0 {
                        first_call
                    } else {
                        let shared = self.shared.lock();
                        shared.outbox.first_waiting(shared.calls.next_id())
                    };
                    self.fail_unsent(first_unsent);
                    return Err(WriteEnd::Closed);
                }
            }
        }
        Ok(bytes)
    }

    /// Closes the channel after a failed write. The calls from `first_unsent` on may be sent to another worker.
    fn fail_unsent(&self, first_unsent: u64) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        shared.unwritable = true;
        // A worker may have closed its reading direction only. Reading from it would never show that, so the writer
        // task has to end.
        self.wake_writer.notify_one();
        let unsent = shared.calls.take_from(first_unsent);
        drop(shared);
        for call in unsent {
            call.complete(Err(CallFailure::Unsent));
        }
    }

    /// Closes the writing direction: the worker reads end of file and is expected to exit.
    pub fn shut_down_writing(&self) {
        if let Err(error) = rustix::net::shutdown(self.stream.as_ref(), rustix::net::Shutdown::Write) {
            tracing::debug!(%error, "the worker's end of the channel was closed already");
        }
    }
}
