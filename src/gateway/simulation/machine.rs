//! What the gateways of all runs share, because it is slow to make: a folder, the writer of log files, the store, the
//! spawner that starts nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::config::DeployConfig;
use crate::deployment::Prefix;
use crate::gateway::deployer::{Deployer, ReleaseTools};
use crate::gateway::{Gateway, Launcher};
use crate::logs::files::LogFiles;
use crate::plugin::outside::NoFunctions;
use crate::plugin::plugins::Plugins;
use crate::process::spawner::Spawner;
use crate::process::tree::Instance;
use crate::registry::store::Store;
use crate::registry::users::Users;
use crate::runtime::scripts::WorkerScripts;
use crate::source::dependencies::Installer;
use crate::source::repository::Repositories;
use crate::source::staging::StagingArea;
use crate::worker::spawn::StartWorker;

/// How long calls may continue when the gateway stops.
pub(super) const DRAIN: Duration = Duration::from_secs(2);

/// The machine on which all runs of a test take place.
pub(super) struct Machine {
    folder: TempDir,
    spawner: Arc<Spawner>,
    log_files: LogFiles,
    scripts: WorkerScripts,
    store: Arc<Store>,
    users: Arc<Users>,
}

impl Machine {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        Self {
            spawner: Arc::new(Spawner::new(Instance::current())),
            log_files: LogFiles::start(&data.join("logs")).unwrap(),
            scripts: WorkerScripts::in_place(&data),
            users: Arc::new(Users::open(&data).unwrap()),
            store: Arc::new(Store::open(&data, Vec::new(), None).unwrap()),
            folder,
        }
    }

    /// The folder of a deployment.
    pub(super) fn folder_of(&self, deployment: &str) -> PathBuf {
        self.folder.path().join(deployment)
    }

    /// A gateway whose workers are started by `workers`.
    pub(super) fn gateway(&self, workers: Arc<dyn StartWorker>) -> Arc<Gateway> {
        let launcher = Launcher {
            spawner: Arc::clone(&self.spawner),
            workers,
            scripts: self.scripts.clone(),
            walls: Vec::new(),
            users: Arc::clone(&self.users),
        };
        let plugins = Plugins::new(self.path().join("compiled"), 1 << 20, Arc::new(NoFunctions));
        let prefix = Prefix::new("local").unwrap();
        Arc::new(Gateway::new(prefix, Arc::new([]), plugins, launcher, self.log_files.clone()))
    }

    pub(super) fn deployer(&self, gateway: Arc<Gateway>) -> Arc<Deployer> {
        let spawner = &self.spawner;
        let tools = ReleaseTools {
            staging: StagingArea::read_only(self.path()),
            installer: Installer::new(Arc::clone(spawner), DRAIN, Vec::new()),
            repositories: Repositories::new(Arc::clone(spawner), Vec::new(), DRAIN),
        };
        Arc::new(Deployer::new(gateway, Arc::clone(&self.store), tools, DeployConfig::default(), DRAIN))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
