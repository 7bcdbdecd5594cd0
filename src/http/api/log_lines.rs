//! The lines of a log in batches, for a stream that has more to send than these.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::logs::book::LogBook;

/// Bytes of the lines of one batch, beyond its first line.
const BYTES: usize = 64 << 10;
/// How long a batch waits for further lines: a log may get a thousand a second.
const GATHERING: Duration = Duration::from_millis(50);

/// The lines of a log from the kept ones on.
pub(super) struct LogLines {
    book: Arc<LogBook>,
    changes: watch::Receiver<u64>,
    /// The first line that was not taken; none before the first batch.
    from: Option<u64>,
}

impl LogLines {
    /// The lines of this log.
    #[must_use]
    pub(super) fn new(book: Arc<LogBook>) -> Self {
        let mut changes = book.watch();
        changes.mark_changed();
        Self { book, changes, from: None }
    }

    /// The next lines once there are some, and how many were lost because they were not read in time. Dropped before
    /// it completes, it has taken none.
    pub(super) async fn next(&mut self) -> Value {
        loop {
            if self.changes.changed().await.is_err() {
                // The log is held here: it does not end.
                std::future::pending::<()>().await;
            }
            // Also after the wait below was dropped.
            self.changes.mark_changed();
            tokio::time::sleep(GATHERING).await;
            self.changes.mark_unchanged();
            let (lines, next) = self.book.since(self.from.unwrap_or(0));
            let first = next - lines.len() as u64;
            let is_first = self.from.is_none();
            let lost = self.from.map_or(0, |from| first.saturating_sub(from));
            let taken = &lines[..batch(&lines)];
            self.from = Some(first + taken.len() as u64);
            if taken.len() < lines.len() {
                self.changes.mark_changed();
            }
            if is_first || !taken.is_empty() {
                return json!({ "whole": is_first, "lost": lost, "lines": taken });
            }
        }
    }
}

/// How many of these lines make a batch.
fn batch(lines: &[Arc<str>]) -> usize {
    let mut bytes = 0;
    let fits = lines.iter().take_while(|line| {
        bytes += line.len();
        bytes <= BYTES
    });
    fits.count().max(1).min(lines.len())
}
