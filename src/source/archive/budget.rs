//! The time on a processor that one archive may take, measured on the thread that unpacks it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::source::archive::error::{ArchiveError, quote, refused};

/// When the thread must have done with its archive.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Duration,
    end: Duration,
}

impl Budget {
    /// Begins to count.
    pub(super) fn start(limit: Duration) -> Self {
        Self { limit, end: spent() + limit }
    }

    /// Refuses to go on with an entry once the time is up.
    pub(super) fn check(&self, path: &str) -> Result<(), ArchiveError> {
        if spent() > self.end {
            return Err(refused(format!("{}: unpacking took more than {:?} by then", quote(path), self.limit)));
        }
        Ok(())
    }
}

fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
