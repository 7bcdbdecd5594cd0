//! The file that a plugin's hook calls are recorded to, written on a thread of its own.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::supervise;

/// Largest number of hook calls that wait to be written; further ones are dropped.
const WAITING: usize = 1_024;
/// The name of the thread as a long-lived task.
const TASK: &str = "hook-recorder";

/// A file that cases are appended to.
pub(super) struct RecordFile {
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

impl RecordFile {
    /// Appends to the file at `path`. Only the gateway's user may read it, because it holds what callers send,
    /// including their credentials.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let (lines, waiting) = sync_channel(WAITING);
        let mut file = BufWriter::new(file);
        supervise::forever_thread(TASK, move || write(&waiting, &mut file))?;
        Ok(Self { lines, dropped: AtomicU64::new(0) })
    }

    /// Hook calls that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Appends a line, unless too many wait.
    pub(super) fn take(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(lines: &Receiver<String>, file: &mut BufWriter<File>) {
    while let Ok(line) = lines.recv() {
        supervise::panic_point(TASK);
        let mut written = writeln!(file, "{line}");
        while let Ok(line) = lines.try_recv() {
            written = written.and_then(|()| writeln!(file, "{line}"));
        }
        if let Err(error) = written.and_then(|()| file.flush()) {
            tracing::error!(%error, "writing a recording of hook calls failed");
        }
    }
}
