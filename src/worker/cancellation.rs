//! Waiting for the answer to a call, with word to the worker when the caller leaves.

use tokio::sync::oneshot::error::RecvError;

use crate::invocation::{CallFailure, Returned};
use crate::ipc::client::Sent;
use crate::worker::dispatch::WorkerClient;
use crate::worker::patience::Patience;

/// What the reply to a call holds.
type Answer = Result<Result<Returned, CallFailure>, RecvError>;

/// Waits for the answer to a call. A worker that accepts `cancel` gets to know when the caller leaves.
pub(super) async fn answer(client: &WorkerClient, sent: Sent, cancellable: bool, patience: Patience<'_>) -> Answer {
    if cancellable {
        // Boxed: its state would enlarge the future of every call.
        return Box::pin(cancellable_answer(client, sent, patience)).await;
    }
    sent.reply.await
}

async fn cancellable_answer(client: &WorkerClient, sent: Sent, patience: Patience<'_>) -> Answer {
    let Sent { id, mut reply } = sent;
    let mut caller = Caller { client, id, waits: true };
    let answer = tokio::select! {
        biased;
        answer = &mut reply => answer,
        () = patience.caller_leaves() => {
            client.ask_to_stop(id);
            // After-hooks see how the call ends.
            reply.await
        }
    };
    caller.waits = false;
    answer
}

/// Cancels a call when it is dropped while it waits.
struct Caller<'a> {
    client: &'a WorkerClient,
    id: u64,
    waits: bool,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.client.cancel(self.id);
        }
    }
}
