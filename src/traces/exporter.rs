//! The thread that sends spans. It tries again what may be accepted later, with growing delays and for a limited time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::traces::counters::Counters;
use crate::traces::queue::Queue;
use crate::traces::sending::{Sending, Sent};

/// The first delay between two attempts, and the longest.
const SHORTEST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(15);
/// How long attempts for the same spans go on.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the log says that spans are lost.
const REPORTS: Duration = Duration::from_secs(60);

/// Sends spans.
pub(super) struct Exporter {
    sending: Sending,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    /// When the log said that something is wrong; none if nothing is.
    reported: Option<Instant>,
}

impl Exporter {
    pub(super) fn new(sending: Sending, queue: Arc<Queue>, counters: Arc<Counters>) -> Self {
        Self { sending, queue, counters, reported: None }
    }

    /// Sends spans as they come.
    pub(super) fn run(&mut self) {
        loop {
            let spans = self.queue.next_batch();
            let count = spans.len() as u64;
            let body = self.sending.encode(spans);
            self.send(&body, count);
        }
    }

    fn send(&mut self, body: &[u8], count: u64) {
        let (begun, mut delay) = (Instant::now(), SHORTEST_DELAY);
        loop {
            match self.sending.send(body) {
                Sent::Accepted(rejected, message) => return self.accepted(count, rejected.min(count), &message),
                Sent::Refused(why) => {
                    self.counters.refused.fetch_add(count, Ordering::Relaxed);
                    return self.report(&why);
                }
                Sent::Later(asked, why) => {
                    self.report(&why);
                    let jitter = delay.mul_f64(0.5 + fastrand::f64() / 2.0);
                    // A collector that asks for a second or none at all is not asked again and again.
                    let wait = asked.unwrap_or_default().max(jitter);
                    let is_late = begun.elapsed() + wait > PATIENCE;
                    if is_late || self.queue.wait(wait) {
                        self.counters.unreachable.fetch_add(count, Ordering::Relaxed);
                        return;
                    }
                    delay = (delay * 2).min(LONGEST_DELAY);
                }
            }
        }
    }

    fn accepted(&mut self, count: u64, rejected: u64, message: &str) {
        self.counters.sent.fetch_add(count - rejected, Ordering::Relaxed);
        self.counters.refused.fetch_add(rejected, Ordering::Relaxed);
        if rejected > 0 || !message.is_empty() {
            return self.report(&format!("the collector rejects {rejected} of {count} spans: {message:?}"));
        }
        if self.reported.take().is_some() {
            tracing::info!("the collector accepts spans again");
        }
    }

    /// Logs what is wrong, once a minute at most.
    fn report(&mut self, why: &str) {
        if self.reported.is_none_or(|at| at.elapsed() > REPORTS) {
            self.reported = Some(Instant::now());
            tracing::warn!(why, "spans were not accepted");
        }
    }
}
