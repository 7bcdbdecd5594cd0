//! The queue of reloads, in which at most one waits. Requests that arrive before it begins share it and its result;
//! those that arrive during a reload share the next one, which reads what they may have written. So the queue takes the
//! same memory however many files change and however many requesters wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::gateway::reload_request::{Functions, Rejected, ReloadRequest, Reloaded};

/// What a reload has done, or why it has changed nothing.
pub type ReloadResult = Result<Arc<Reloaded>, Rejected>;

/// Where requests go.
#[derive(Debug, Clone)]
pub struct ReloadSender(Arc<Queue>);

/// Where reloads come from. Dropping it closes the queue.
#[derive(Debug)]
pub struct ReloadReceiver(Arc<Queue>);

/// A reload that may begin.
#[derive(Debug)]
pub struct Reload {
    /// The cause of its first request, for the log.
    pub cause: &'static str,
    /// Whether the files of functions are checked for changes as well: if any of its requests wants that.
    pub functions: Functions,
    /// Whether a requester waits for the result: it has finished writing its files.
    pub is_waited_for: bool,
    /// Dropped without a value if the reload panics.
    result: watch::Sender<Option<ReloadResult>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// The state has changed. One task waits for this.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Reload>,
    is_closed: bool,
}

/// An empty queue.
#[must_use]
pub fn channel() -> (ReloadSender, ReloadReceiver) {
    let queue = Arc::new(Queue::default());
    (ReloadSender(Arc::clone(&queue)), ReloadReceiver(queue))
}

impl ReloadSender {
    /// Requests a reload and does not wait for it.
    pub fn send(&self, request: ReloadRequest) {
        let mut state = self.0.state.lock();
        if !state.is_closed {
            state.add(request);
            self.0.changed.notify_one();
        }
    }

    /// Requests a reload. The future is its result; none if the queue is closed before the reload begins or ends.
    pub fn request(&self, request: ReloadRequest) -> impl Future<Output = Option<ReloadResult>> + use<> {
        let mut result = {
            let mut state = self.0.state.lock();
            (!state.is_closed).then(|| {
                let reload = state.add(request);
                reload.is_waited_for = true;
                reload.result.subscribe()
            })
        };
        self.0.changed.notify_one();
        let sender = self.clone();
        async move {
            match result.as_mut()?.wait_for(Option::is_some).await {
                Ok(result) => result.clone(),
                Err(_) if sender.is_closed() => None,
                // The task panicked with the reload in hand, and is started again.
                Err(_) => Some(Err(Rejected::Internal)),
            }
        }
    }

    /// Whether no reload will begin any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().is_closed
    }
}

impl State {
    fn add(&mut self, request: ReloadRequest) -> &mut Reload {
        let ReloadRequest { cause, functions } = request;
        let reload = self.next.get_or_insert_with(|| Reload {
            cause,
            functions,
            is_waited_for: false,
            result: watch::Sender::new(None),
        });
        if functions == Functions::Check {
            reload.functions = Functions::Check;
        }
        reload
    }
}

impl ReloadReceiver {
    /// Waits for a request, and then for more of them: until `settle` is over, or a requester waits for the result. The
    /// reload that this returns begins: further requests go to the next one.
    pub async fn next(&mut self, settle: Duration) -> Reload {
        loop {
            self.until(|_| true).await;
            self.pause(settle).await;
            if let Some(reload) = self.0.state.lock().next.take() {
                return reload;
            }
        }
    }

    /// Lets some time pass, or less if a requester waits for the next reload.
    pub async fn pause(&mut self, time: Duration) {
        let _time_is_over = timeout(time, self.until(|reload| reload.is_waited_for)).await;
    }

    async fn until(&self, is_wanted: impl Fn(&Reload) -> bool) {
        while !self.0.state.lock().next.as_ref().is_some_and(&is_wanted) {
            self.0.changed.notified().await;
        }
    }
}

impl Drop for ReloadReceiver {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        state.next = None;
    }
}

impl Reload {
    /// Hands the result to the requesters that wait for it.
    pub fn finish(self, result: ReloadResult) {
        self.result.send_replace(Some(result));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SETTLE: Duration = Duration::from_secs(3600);

    fn reloaded(name: &str) -> ReloadResult {
        Ok(Arc::new(Reloaded { deployed: vec![name.to_owned()], ..Reloaded::default() }))
    }

    fn deployed(result: Option<Option<ReloadResult>>) -> String {
        result.unwrap().unwrap().unwrap().deployed.join(" ")
    }

    fn asked(sender: &ReloadSender) -> impl Future<Output = Option<ReloadResult>> + use<> {
        sender.request(ReloadRequest::of_configuration("a test"))
    }

    #[tokio::test]
    async fn a_crowd_of_requests_is_one_reload() {
        let (sender, mut receiver) = channel();
        for _ in 0..10_000 {
            sender.send(ReloadRequest::of_configuration("a file has changed"));
        }
        sender.send(ReloadRequest::of_functions("files of functions have changed"));
        let waiting: Vec<_> = (0..100).map(|_| asked(&sender)).collect();
        let reload = receiver.next(SETTLE).await;
        assert_eq!((reload.cause, reload.functions), ("a file has changed", Functions::Check));
        reload.finish(reloaded("it"));
        for waiting in waiting {
            assert_eq!(deployed(waiting.now_or_never()), "it");
        }
        assert!(receiver.next(Duration::ZERO).now_or_never().is_none(), "another reload");
    }

    #[tokio::test]
    async fn a_request_during_a_reload_gets_the_result_of_the_next_one() {
        let (sender, mut receiver) = channel();
        let early = asked(&sender);
        let first = receiver.next(SETTLE).await;
        let mut late = Box::pin(asked(&sender));
        first.finish(reloaded("first"));
        assert_eq!(deployed(early.now_or_never()), "first");
        assert!((&mut late).now_or_never().is_none(), "answered with a reload that had begun before");
        receiver.next(SETTLE).await.finish(reloaded("second"));
        assert_eq!(deployed(late.now_or_never()), "second");
    }

    #[tokio::test]
    async fn changes_of_files_settle_unless_a_requester_waits() {
        let (sender, mut receiver) = channel();
        sender.send(ReloadRequest::of_configuration("a file has changed"));
        let mut next = Box::pin(receiver.next(SETTLE));
        assert!((&mut next).now_or_never().is_none(), "a file may still be half written");
        let _waiting = asked(&sender);
        assert!(next.now_or_never().is_some_and(|reload| reload.is_waited_for));
        sender.send(ReloadRequest::of_configuration("a file has changed"));
        assert!(!receiver.next(Duration::from_millis(1)).await.is_waited_for);
    }

    #[tokio::test]
    async fn a_reload_that_panics_and_a_queue_that_closes_leave_no_requester_waiting() {
        let (sender, mut receiver) = channel();
        let waiting = asked(&sender);
        drop(receiver.next(SETTLE).await);
        assert!(matches!(waiting.now_or_never(), Some(Some(Err(Rejected::Internal)))));
        let waiting = asked(&sender);
        drop(receiver);
        assert!(matches!(waiting.now_or_never(), Some(None)));
        assert!(matches!(asked(&sender).now_or_never(), Some(None)));
    }
}
