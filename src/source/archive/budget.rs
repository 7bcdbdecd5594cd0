//! The CPU time that one archive may take, measured on the thread that unpacks it: other load on the machine does not
//! make a good archive fail.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::source::archive::error::{ArchiveError, quote, refused};

/// The CPU time of the thread at which unpacking must be done.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Duration,
    end: Duration,
}

impl Budget {
    /// Starts to count.
    pub(super) fn start(limit: Duration) -> Self {
        Self { limit, end: spent() + limit }
    }

    /// Fails once the time is used up; the error names the current entry.
    pub(super) fn check(&self, path: &str) -> Result<(), ArchiveError> {
        if spent() > self.end {
            return Err(refused(format!(
                "{}: unpacking exceeds {:?} of CPU time at this entry",
                quote(path),
                self.limit
            )));
        }
        Ok(())
    }
}

fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
