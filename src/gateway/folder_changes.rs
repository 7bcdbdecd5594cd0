//! Changed folders of the configuration, found when a worker is about to start: a pool never starts a worker from other
//! files than those that its workers have loaded. It requests that the release is replaced; `configured` does that.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};

use crate::deployment::{DeploymentName, Fingerprint};
use crate::gateway::blocking;
use crate::registry::loaded_folder::LoadedFolder;
use crate::source::fingerprint;
use crate::worker::failure::LoadFailure;
use crate::worker::release_check::{CheckRelease, Files};

/// How long the files must stay the same before they are loaded: tools write several.
const SETTLE: Duration = Duration::from_millis(200);
/// Files that never stay the same are loaded after so many comparisons.
const COMPARISONS: usize = 10;

/// A request to replace a release because its folder has changed.
pub(super) struct FolderChange {
    /// The deployment.
    pub(super) name: DeploymentName,
    /// The release that found the change.
    pub(super) sequence: u64,
    /// What came of it.
    pub(super) answer: oneshot::Sender<Replaced>,
}

/// What a request to replace a release led to.
pub(super) enum Replaced {
    /// The release is out of service, and its workers end.
    Yes,
    /// The files are as the release has loaded them.
    Unchanged,
    /// The changed files do not load.
    No(Arc<LoadFailure>),
}

/// The way of the requests from the pools to the task that makes the changes.
pub(super) struct FolderChanges {
    /// Each seat of a pool has one request at most.
    requests: UnboundedSender<FolderChange>,
    /// Locked by the task that makes the changes, which may be started again.
    pub(super) received: Mutex<UnboundedReceiver<FolderChange>>,
}

impl Default for FolderChanges {
    fn default() -> Self {
        let (requests, received) = unbounded_channel();
        Self { requests, received: Mutex::new(received) }
    }
}

impl FolderChanges {
    /// The check of a release whose folder may change.
    pub(super) fn check_of(&self, name: DeploymentName, sequence: u64, folder: Arc<LoadedFolder>) -> FolderCheck {
        FolderCheck { name, sequence, folder, requests: self.requests.clone() }
    }
}

/// The check of one release's folder.
pub(super) struct FolderCheck {
    name: DeploymentName,
    sequence: u64,
    folder: Arc<LoadedFolder>,
    requests: UnboundedSender<FolderChange>,
}

impl FolderCheck {
    async fn check(&self) -> Result<Files, Arc<LoadFailure>> {
        #[cfg(test)]
        if crate::planted::is(crate::planted::Fault::MixedRelease) {
            return Ok(None);
        }
        loop {
            let Some(current) = fingerprint_of(self.folder.path()).await else { return Ok(None) };
            if self.folder.may_start(current) {
                self.folder.set_rejected(None);
                return Ok(Some(current));
            }
            if let Some(failure) = self.folder.rejection_of(current) {
                return Err(failure);
            }
            let (answer, replaced) = oneshot::channel();
            let change = FolderChange { name: self.name.clone(), sequence: self.sequence, answer };
            let _stopping = self.requests.send(change);
            match replaced.await {
                // Without an answer the task that makes the changes has panicked, or the gateway stops: the next
                // request is answered, or the pool stops.
                Ok(Replaced::Unchanged) | Err(_) => {}
                Ok(Replaced::No(failure)) => return Err(failure),
                // The pool stops, and the wait with it.
                Ok(Replaced::Yes) => std::future::pending().await,
            }
        }
    }
}

impl CheckRelease for FolderCheck {
    fn check(&self) -> Pin<Box<dyn Future<Output = Result<Files, Arc<LoadFailure>>> + Send + '_>> {
        Box::pin(self.check())
    }

    fn confirm(&self, files: Files) -> bool {
        self.folder.confirm(files)
    }
}

/// The state of a folder's files, taken off the thread that serves calls; none if it cannot be read.
pub(super) async fn fingerprint_of(folder: &Path) -> Option<Fingerprint> {
    let folder = folder.to_owned();
    blocking::run(move || fingerprint::of_readable_folder(&folder)).await.ok().flatten()
}

/// The state of a folder's files once nothing writes them any more.
pub(super) async fn settled_fingerprint_of(folder: &Path) -> Option<Fingerprint> {
    let mut last = fingerprint_of(folder).await?;
    for _ in 0..COMPARISONS {
        tokio::time::sleep(SETTLE).await;
        let current = fingerprint_of(folder).await?;
        if current == last {
            break;
        }
        last = current;
    }
    Some(last)
}
