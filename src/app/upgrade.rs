//! An upgrade as the gateway that is replaced makes it: changes are held back, the new program is started with the
//! listening sockets and the lock of the data folder, and serving ends once that takes calls.

use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::app::data_dir::Lock;
use crate::app::notify::Notify;
use crate::app::sockets::ListeningSocket;
use crate::app::successor::{self, Inheritance, Program, Starting, Succeeded};
use crate::gateway::deployer::Deployer;
use crate::gateway::upgrades::{StartSuccessor, UpgradeError, Upgraded};
use crate::process::spawner::Spawner;

/// What others read while changes are held back.
const REASON: &str = "an upgrade of the gateway is under way; try again when it is finished";

/// Makes upgrades of this gateway.
pub(super) struct Upgrading {
    pub(super) deployer: Arc<Deployer>,
    pub(super) spawner: Arc<Spawner>,
    pub(super) program: Arc<Program>,
    pub(super) sockets: Arc<Mutex<Vec<ListeningSocket>>>,
    /// The lock of the data folder.
    pub(super) lock: Arc<Lock>,
    pub(super) starting: Arc<Starting>,
    pub(super) timeout: Duration,
    pub(super) notify: Notify,
    /// Whether the gateway before this one has not ended yet.
    pub(super) has_predecessor: Arc<AtomicBool>,
    /// Where a successor that takes calls is reported.
    pub(super) succeeded: mpsc::UnboundedSender<Succeeded>,
}

impl StartSuccessor for Upgrading {
    fn start(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Upgraded, UpgradeError>> + Send>> {
        Box::pin(async move { self.upgrade().await })
    }
}

impl Upgrading {
    async fn upgrade(self: Arc<Self>) -> Result<Upgraded, UpgradeError> {
        if std::process::id() == 1 {
            let reason = "the gateway is process 1 of a container, which ends with it: replace the container";
            return Err(UpgradeError::Impossible(reason));
        }
        if self.program.is_child_of_init && !self.notify.is_heard() {
            let reason = "process 1, which has started the gateway, would take its end for that of the service: \
                          replace the container, or restart the service; a unit of systemd needs Type=notify";
            return Err(UpgradeError::Impossible(reason));
        }
        if self.has_predecessor.load(Ordering::Relaxed) {
            return Err(UpgradeError::PreviousFinishes);
        }
        let held = HeldChanges(&self.deployer);
        let waiting = tokio::time::timeout(self.timeout, async {
            self.deployer.hold_changes(REASON).await;
            self.deployer.reloads.turn.lock().await
        });
        let Ok(turn) = waiting.await else {
            return Err(UpgradeError::Failed("deploys under way did not end within upgrade_timeout".to_owned()));
        };
        let inheritance = self.inheritance().map_err(|error| UpgradeError::Failed(error.to_string()))?;
        let upgrading = Arc::clone(&self);
        let starting = tokio::task::spawn_blocking(move || {
            let Self { program, spawner, starting, timeout, .. } = &*upgrading;
            let started = successor::start(program, &inheritance, spawner, starting, *timeout);
            if started.is_err() {
                // What its workers have started.
                spawner.sweep_orphans();
            }
            started
        });
        let succeeded = match starting.await {
            Ok(started) => started.map_err(UpgradeError::Failed)?,
            Err(_) => return Err(UpgradeError::Failed("internal error".to_owned())),
        };
        // From here on the data folder is the successor's.
        std::mem::forget((held, turn));
        let upgraded = Upgraded { pid: succeeded.pid, previous: std::process::id() };
        let _stopping = self.succeeded.send(succeeded);
        Ok(upgraded)
    }

    fn inheritance(&self) -> std::io::Result<Inheritance> {
        let copy = |descriptor: std::os::fd::BorrowedFd<'_>| descriptor.try_clone_to_owned();
        let sockets = self.sockets.lock();
        let sockets: std::io::Result<Vec<(String, bool, OwnedFd)>> = sockets
            .iter()
            .map(|socket| Ok((socket.address.clone(), socket.file.is_some(), copy(socket.descriptor.as_fd())?)))
            .collect();
        let readiness = self.deployer.readiness();
        let serves = readiness.deployments.into_iter().filter(|deployment| deployment.status == "ready");
        Ok(Inheritance {
            sockets: sockets?,
            lock: copy(self.lock.as_fd())?,
            serves: serves.map(|deployment| deployment.name).collect(),
        })
    }
}

/// Changes that are held back until this is dropped.
struct HeldChanges<'a>(&'a Deployer);

impl Drop for HeldChanges<'_> {
    fn drop(&mut self) {
        self.0.release_changes();
    }
}
