//! The limits of the logs of deployments: how much a worker can print, and how much of it is kept.

use std::time::Duration;

/// Bytes of memory that the lines of a log take.
pub(super) const RING_BYTES: usize = 1024 * 1024;
/// Bytes that a line takes in addition to its text: counters, its place in a ring that grows by doubling, and what the
/// allocator rounds up. Without them, a ring of short lines would take three times as much.
pub(super) const LINE_COST: usize = 80;
/// A line whose end has not come by then is kept as it is: programs print without a newline, and rest.
pub(super) const PARTIAL_LINE_WAIT: Duration = Duration::from_millis(300);
/// Lines that a deployment may print in a second; further lines are dropped and counted.
pub(super) const LINES_PER_SECOND: u32 = 1000;
/// A line is cut here.
pub(super) const LINE_BYTES: usize = 8 * 1024;
/// Bytes of the file of earlier runs that a new log starts with.
pub(super) const EARLIER_BYTES: usize = 64 * 1024;
/// Bytes of one read from a worker.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Bytes of one read from a worker that floods, and the pause after it: the worker can print at most some 30 MB a
/// second.
pub(super) const FLOOD_READ_BYTES: usize = 64 * 1024;
pub(super) const FLOOD_PAUSE: Duration = Duration::from_millis(2);
/// A file of this size becomes `<name>.log.1`, and a new one begins: a deployment's logs take at most twice this.
pub(super) const ROTATE_AT: u64 = 4 * 1024 * 1024;
/// Texts that may wait for the disk: some 8 MB of the longest lines.
pub(super) const QUEUE: usize = 1024;
