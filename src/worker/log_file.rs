//! Log files on disk: one thread appends what the deployments' workers print, so that a slow disk never holds up a call.
//! Files are rotated by size; what the disk does not take is dropped and counted.

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

/// A file of this size becomes `<name>.log.1`, and a new one begins: a deployment's logs take at most twice this.
const ROTATE_AT: u64 = 4 * 1024 * 1024;
/// Batches that may wait for the disk.
const QUEUE: usize = 1024;

/// Where log text goes to be written.
#[derive(Debug, Clone)]
pub struct LogFiles {
    queue: SyncSender<Batch>,
    dropped: Arc<AtomicU64>,
    folder: Arc<Path>,
}

struct Batch {
    deployment: DeploymentName,
    what: What,
}

enum What {
    Text(String),
    /// Remove the files, and tell when that is done.
    Remove(oneshot::Sender<()>),
}

impl LogFiles {
    /// Starts the thread that writes below `folder`, which is made if it is not there.
    pub fn start(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (queue, batches) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { folder: folder.into(), files: HashMap::new(), dropped: Arc::clone(&dropped) };
        std::thread::Builder::new().name("metagate-logs".to_owned()).spawn(move || writer.run(&batches))?;
        Ok(Self { queue, dropped, folder: folder.into() })
    }

    /// Queues text for a deployment's file; drops and counts it when the disk is far behind.
    pub fn append(&self, deployment: &DeploymentName, text: String) {
        let bytes = text.len() as u64;
        match self.queue.try_send(Batch { deployment: deployment.clone(), what: What::Text(text) }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Removes a deployment's files, after all that was queued before. Returns when they are gone.
    pub async fn remove(&self, deployment: &DeploymentName) {
        let (tell, removed) = oneshot::channel();
        let (queue, deployment) = (self.queue.clone(), deployment.clone());
        // The queue may be full.
        let sending = move || drop(queue.send(Batch { deployment, what: What::Remove(tell) }));
        if tokio::task::spawn_blocking(sending).await.is_ok() {
            let _writer_gone = removed.await;
        }
    }

    /// Bytes that never reached a file.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The end of what earlier runs left in a deployment's file: whole lines, at most `limit` bytes.
    #[must_use]
    pub fn tail(&self, deployment: &DeploymentName, limit: usize) -> String {
        let Ok((text, is_whole)) = read_end(&log_path(&self.folder, deployment), limit) else { return String::new() };
        let start = if is_whole { 0 } else { memchr::memchr(b'\n', &text).map_or(text.len(), |newline| newline + 1) };
        String::from_utf8_lossy(&text[start..]).into_owned()
    }
}

/// The last `limit` bytes of a file, and whether they are all of it.
fn read_end(path: &Path, limit: usize) -> io::Result<(Vec<u8>, bool)> {
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
    files: HashMap<DeploymentName, (File, u64)>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            let Batch { deployment, what } = batch;
            match what {
                What::Text(text) => {
                    if self.write(&deployment, &text).is_err() {
                        // The disk may be full: try anew with the next batch.
                        self.files.remove(&deployment);
                        self.dropped.fetch_add(text.len() as u64, Ordering::Relaxed);
                    }
                }
                What::Remove(done) => {
                    self.files.remove(&deployment);
                    let path = log_path(&self.folder, &deployment);
                    for path in [path.with_added_extension("1"), path] {
                        let _never_written = fs::remove_file(path);
                    }
                    let _gone = done.send(());
                }
            }
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
        let mut writer =
            Writer { folder: folder.path().into(), files: HashMap::new(), dropped: Arc::new(AtomicU64::new(0)) };
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
