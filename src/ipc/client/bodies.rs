//! Bodies that follow their calls on a channel, as fast as the worker takes them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::clock;
use crate::invocation::body::{HeldBody, WINDOW};
use crate::ipc::client::Client;
use crate::ipc::message::body::{data_line, end_line, error_line};

/// Tells the worker how a body has ended, when it is dropped.
struct End<S: Send + 'static> {
    client: Arc<Client<S>>,
    id: u64,
    how: Result<(), Arc<str>>,
}

impl<S: Send + 'static> Client<S> {
    /// Has a body follow the call that was sent with this id. The function has this time to answer after the last
    /// piece, or to take what it was sent.
    pub fn follow(&self, id: u64, body: &HeldBody, time: Duration) {
        let Some(client) = self.this.upgrade() else { return };
        let may_send = self.shared.lock().calls.follow(id, time, self.stream_idle, clock::now());
        if let Some(may_send) = may_send {
            let end = End { client, id, how: Err("the call is over".into()) };
            tokio::spawn(pass_on(body.clone(), may_send, end));
        }
    }

    /// Takes a `BodyCredit`; false if the id was never given out.
    pub(super) fn take_credit(&self, id: Option<u64>, bytes: usize) -> bool {
        self.shared.lock().calls.take_credit(id, bytes, clock::now())
    }

    fn send_piece(&self, id: u64, piece: &Bytes) {
        let line = data_line(id, piece);
        let mut shared = self.shared.lock();
        self.push_line(&mut shared, line.as_bytes());
        if let Some(deadline) = shared.calls.sent_piece(id, piece.len(), clock::now()) {
            self.look_at(&mut shared, deadline);
        }
    }
}

/// Passes the pieces of a body on until its end, or until the call is over.
async fn pass_on<S: Send + 'static>(body: HeldBody, mut may_send: watch::Receiver<u64>, mut end: End<S>) {
    if may_send.has_changed().is_err() {
        // Over before it began: the call may go to another worker, with its body.
        return;
    }
    let Some(mut body) = body.take() else { return };
    let mut sent = 0;
    loop {
        let next = tokio::select! {
            biased;
            next = body.next() => next,
            () = over(&mut may_send) => return,
        };
        let mut piece = match next {
            Some(Ok(piece)) => piece,
            Some(Err(fault)) => return end.how = Err(fault),
            None => return end.how = Ok(()),
        };
        while !piece.is_empty() {
            let Ok(granted) = may_send.wait_for(|granted| *granted > sent).await.map(|granted| *granted) else {
                return;
            };
            let room = usize::try_from(granted - sent).unwrap_or(WINDOW);
            let part = piece.split_to(piece.len().min(room));
            sent += part.len() as u64;
            end.client.send_piece(end.id, &part);
        }
    }
}

/// Waits until the call is over.
async fn over(may_send: &mut watch::Receiver<u64>) {
    while may_send.changed().await.is_ok() {}
}

impl<S: Send + 'static> Drop for End<S> {
    fn drop(&mut self) {
        let line = match &self.how {
            Ok(()) => end_line(self.id),
            Err(fault) => error_line(self.id, fault),
        };
        let mut shared = self.client.shared.lock();
        self.client.push_line(&mut shared, line.as_bytes());
        if let Some(deadline) = shared.calls.end_upload(self.id, clock::now()) {
            self.client.look_at(&mut shared, deadline);
        }
    }
}
