//! Log files of deployments: one thread appends to them, so that a slow disk never delays a call. Files are rotated by
//! size. Text that cannot be written is dropped, counted, and reported once writing works again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rustix::fs::OFlags;
use tokio::sync::oneshot;

use crate::deployment::DeploymentName;
use crate::logs::limits::{QUEUE, ROTATE_AT};
use crate::supervise;

/// The name of the thread as a long-lived task.
const TASK: &str = "log-files";

/// The queue of the thread that writes the files below one folder.
#[derive(Debug, Clone)]
pub struct LogFiles {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    folder: Arc<Path>,
}

#[derive(Debug)]
struct Entry {
    deployment: DeploymentName,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Append(String),
    /// Remove the files, then send.
    Remove(oneshot::Sender<()>),
}

impl LogFiles {
    /// Starts the thread that writes below `folder`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// The folder or the thread cannot be made.
    pub fn start(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (queue, entries) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(folder, Arc::clone(&dropped));
        // `entries` and `writer` outlive a panic: the next run goes on with the queue.
        supervise::forever_thread(TASK, move || writer.run(&entries))?;
        Ok(Self { queue, dropped, folder: folder.into() })
    }

    /// Queues text for a deployment's file, or drops and counts it when the queue is full.
    pub fn append(&self, deployment: &DeploymentName, text: String) {
        let bytes = text.len() as u64;
        match self.queue.try_send(Entry { deployment: deployment.clone(), action: Action::Append(text) }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Removes a deployment's files, after everything that was queued before. Returns when they are removed.
    pub async fn remove(&self, deployment: &DeploymentName) {
        let (done, removed) = oneshot::channel();
        let (queue, deployment) = (self.queue.clone(), deployment.clone());
        // `send` blocks while the queue is full.
        let sending = move || drop(queue.send(Entry { deployment, action: Action::Remove(done) }));
        if tokio::task::spawn_blocking(sending).await.is_ok() {
            let _writer_panicked = removed.await;
        }
    }

    /// Bytes that were not written to a file, because the queue was full or a write failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The last lines of a deployment's file, whole ones, at most `limit` bytes. Empty if there is no file.
    #[must_use]
    pub fn tail(&self, deployment: &DeploymentName, limit: usize) -> String {
        let Ok((text, is_whole)) = read_end(&log_path(&self.folder, deployment), limit) else { return String::new() };
        let start = if is_whole { 0 } else { memchr::memchr(b'\n', &text).map_or(text.len(), |newline| newline + 1) };
        String::from_utf8_lossy(&text[start..]).into_owned()
    }
}

/// The last `limit` bytes of a file, and whether they are the whole file.
fn read_end(path: &Path, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    // Opening a named pipe in the file's place would block without this flag.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let start = file.metadata()?.len().saturating_sub(limit as u64);
    file.seek(io::SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(limit as u64).read_to_end(&mut text)?;
    Ok((text, start == 0))
}

fn log_path(folder: &Path, deployment: &DeploymentName) -> PathBuf {
    folder.join(format!("{deployment}.log"))
}

struct Writer {
    folder: Box<Path>,
    /// Open files with their sizes.
    files: HashMap<DeploymentName, (File, u64)>,
    dropped: Arc<AtomicU64>,
    /// The value of `dropped` at the last report.
    reported: u64,
}

impl Writer {
    fn new(folder: &Path, dropped: Arc<AtomicU64>) -> Self {
        Self { folder: folder.into(), files: HashMap::new(), dropped, reported: 0 }
    }

    fn run(&mut self, entries: &Receiver<Entry>) {
        while let Ok(Entry { deployment, action }) = entries.recv() {
            supervise::panic_point(TASK);
            match action {
                Action::Append(text) => match self.write(&deployment, &text) {
                    Ok(()) => self.report_dropped(),
                    Err(error) => {
                        tracing::debug!(%deployment, %error, "log text could not be written");
                        // The next write opens the file again: the disk may have room then.
                        self.files.remove(&deployment);
                        self.dropped.fetch_add(text.len() as u64, Ordering::Relaxed);
                    }
                },
                Action::Remove(done) => {
                    self.files.remove(&deployment);
                    let path = log_path(&self.folder, &deployment);
                    for path in [path.with_added_extension("1"), path] {
                        let _never_written = fs::remove_file(path);
                    }
                    let _caller_left = done.send(());
                }
            }
        }
    }

    /// Reports, after a write that succeeded, the bytes that were dropped before it.
    fn report_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.reported {
            tracing::warn!(
                bytes = dropped - self.reported,
                "log text of deployments was lost: the disk did not accept it"
            );
            self.reported = dropped;
        }
    }

    fn write(&mut self, deployment: &DeploymentName, text: &str) -> io::Result<()> {
        let path = log_path(&self.folder, deployment);
        let (file, size) = match self.files.remove(deployment) {
            Some(open) => open,
            None => open_log(&path)?,
        };
        let (mut file, size) = if size > ROTATE_AT {
            fs::rename(&path, path.with_added_extension("1"))?;
            open_log(&path)?
        } else {
            (file, size)
        };
        file.write_all(text.as_bytes())?;
        self.files.insert(deployment.clone(), (file, size + text.len() as u64));
        Ok(())
    }
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFiles::start(folder.path()).unwrap();
        let name = DeploymentName::new("math").unwrap();
        fs::write(log_path(folder.path(), &name), "first line\nsecond\nthird\n").unwrap();
        assert_eq!(logs.tail(&name, 9), "third\n");
        assert_eq!(logs.tail(&name, 100), "first line\nsecond\nthird\n");
    }

    #[test]
    fn a_large_file_is_rotated_and_the_old_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let name = DeploymentName::new("math").unwrap();
        let mut writer = Writer::new(folder.path(), Arc::default());
        let chunk = "x".repeat(1024 * 1024);
        for _ in 0..12 {
            writer.write(&name, &chunk).unwrap();
        }
        let sizes: Vec<u64> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= ROTATE_AT + 1024 * 1024), "{sizes:?}");
    }
}
