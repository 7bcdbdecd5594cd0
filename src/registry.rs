//! The deployments of this gateway by name, in memory. Readers take the current table without a lock; writers replace
//! the whole table in one step. The durable record of deployments that were made over HTTP is in `store`.

pub mod durable;
pub mod format;
pub mod loaded_folder;
pub mod local;
pub mod record;
pub mod shared;
pub mod store;
pub mod users;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::DeploymentConfig;
use crate::deployment::{DeploymentName, HTTP_FUNCTION, Takes};
use crate::logs::book::LogBook;
use crate::metrics::calls::DeploymentCalls;
use crate::plugin::chain::Chain;
use crate::plugin::deployment_chain::DeploymentChain;
use crate::registry::loaded_folder::LoadedFolder;
use crate::worker::failure::{CallError, LoadFailure};
use crate::worker::pool::Pool;

/// A deployment with the release that serves it. A new release makes a new `Deployment`.
pub struct Deployment {
    /// Its name.
    pub name: DeploymentName,
    /// Whether it can be called.
    pub state: State,
    /// The output of its workers; all releases of a name share it.
    pub logs: Arc<LogBook>,
    /// What is counted of its calls, unless metrics are off; all releases of a name share it.
    pub calls: Option<Arc<DeploymentCalls>>,
    /// Distinguishes the releases of a name, and orders all deployments: the newest has the highest number.
    pub sequence: u64,
    /// The plugins that its calls run through. Replaced when plugins are loaded, while calls read it.
    pub chain: ArcSwap<DeploymentChain>,
    /// The labels that load hooks of plugins have set.
    pub labels: Labels,
    /// The names of the variables that its workers have in addition to those of the gateway.
    pub variables: Mutex<Vec<String>>,
    /// Where its definition comes from.
    pub definition: Definition,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The files that are served over HTTP, if the deployment serves files.
    pub static_files: Option<ServedFiles>,
}

/// The files of a deployment that are served over HTTP.
#[derive(Debug, Clone)]
pub struct ServedFiles {
    /// The deployment's folder.
    pub folder: PathBuf,
    /// The part of it whose files are served; empty for the whole folder.
    pub part: PathBuf,
}

/// Labels by name. After-load hooks add theirs when the release has loaded, so the map is shared with the load.
pub type Labels = Arc<Mutex<BTreeMap<String, String>>>;

/// Whether a deployment can be called.
pub enum State {
    /// It has a pool, whose workers are ready or starting.
    Running(Arc<Pool>),
    /// It has no workers: its files, its runtime or a plugin prevents it.
    Failed(Arc<LoadFailure>),
    /// It has no workers yet: it waits to be started.
    Pending,
}

/// Where the definition of a deployment comes from.
pub enum Definition {
    /// A table of the configuration file.
    Configuration {
        /// The table.
        config: Box<DeploymentConfig>,
        /// Its folder; none if its files could not be compared.
        folder: Option<Arc<LoadedFolder>>,
    },
    /// A release that was deployed over HTTP. Its files never change.
    Stored(StoredRelease),
}

/// A release in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRelease {
    /// Its number.
    pub number: u64,
    /// `package` or `repository`.
    pub origin: &'static str,
}

impl Deployment {
    /// The plugins that a call of this function runs through; none where no plugin applies.
    #[must_use]
    pub fn chain_of(&self, function: &str) -> Option<Chain> {
        let chains = self.chain.load();
        if matches!(**chains, DeploymentChain::None) {
            return None;
        }
        chains.of(function, || match &self.state {
            State::Running(pool) => pool.exports().is_some_and(|exports| exports.functions.contains_key(function)),
            State::Failed(_) | State::Pending => false,
        })
    }

    /// Whether a plugin applies to calls of any of its functions.
    #[must_use]
    pub fn has_chains(&self) -> bool {
        !matches!(**self.chain.load(), DeploymentChain::None)
    }

    /// Whether a call of this name may be answered by anything but 404: the release has such a function or has not
    /// loaded, or a plugin applies to the name and may answer for it.
    #[must_use]
    pub fn may_answer(&self, called: &str, takes: Takes) -> bool {
        let Some(exports) = self.pool().and_then(|pool| pool.exports()) else { return true };
        exports.functions.get(called).is_some_and(|function| function.takes == takes)
            || takes == Takes::Arguments && exports.aliases.contains_key(called)
            || self.chain_of(called).is_some()
    }

    /// Whether it has loaded and has a function for whole requests.
    #[must_use]
    pub fn has_app(&self) -> bool {
        let exports = self.pool().and_then(|pool| pool.exports());
        exports.is_some_and(|exports| exports.functions.get(HTTP_FUNCTION).is_some_and(|f| f.takes == Takes::Request))
    }

    /// The functions that share a name, as [`Exports::namesakes`](crate::deployment::Exports::namesakes).
    #[must_use]
    pub fn namesakes(&self, bare: &str) -> Option<Vec<String>> {
        self.pool()?.exports()?.namesakes(bare)
    }

    /// Resolves an alias to the name of its function, as [`Pool::resolve_alias`]; a deployment without workers has no
    /// aliases.
    ///
    /// # Errors
    ///
    /// The release has not loaded, so its aliases are unknown.
    pub async fn name_of<'a>(&self, called: &'a str, deadline: Instant) -> Result<Cow<'a, str>, CallError> {
        match self.pool() {
            Some(pool) => pool.resolve_alias(called, deadline).await,
            None => Ok(Cow::Borrowed(called)),
        }
    }

    /// Whether its first worker has loaded, so that its functions are known.
    #[must_use]
    pub fn has_loaded(&self) -> bool {
        self.pool().is_some_and(|pool| pool.exports().is_some())
    }

    /// Its workers, if it has any.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.state {
            State::Running(pool) => Some(pool),
            State::Failed(_) | State::Pending => None,
        }
    }

    /// The instant at which a call that starts at `start` times out.
    #[must_use]
    pub fn deadline(&self, start: Instant) -> Instant {
        start + self.timeout
    }

    /// Its release in the store; none for a deployment of the configuration.
    #[must_use]
    pub fn stored(&self) -> Option<StoredRelease> {
        match self.definition {
            Definition::Stored(release) => Some(release),
            Definition::Configuration { .. } => None,
        }
    }

    /// Its table in the configuration; none for a deployment that was made over HTTP.
    #[must_use]
    pub fn config(&self) -> Option<&DeploymentConfig> {
        match &self.definition {
            Definition::Configuration { config, .. } => Some(config),
            Definition::Stored(_) => None,
        }
    }

    /// The folder of a deployment of the configuration.
    #[must_use]
    pub fn loaded_folder(&self) -> Option<&Arc<LoadedFolder>> {
        match &self.definition {
            Definition::Configuration { folder, .. } => folder.as_ref(),
            Definition::Stored(_) => None,
        }
    }
}

/// Deployments by name.
#[derive(Default)]
pub struct Registry {
    table: ArcSwap<HashMap<DeploymentName, Arc<Deployment>>>,
}

impl Registry {
    /// The deployment of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Deployment>> {
        self.table.load().get(name).cloned()
    }

    /// Adds a deployment, and returns the one of the same name that it replaces.
    pub fn put(&self, deployment: Deployment) -> Option<Arc<Deployment>> {
        let deployment = Arc::new(deployment);
        let mut before = None;
        self.table.rcu(|table| {
            let mut table = HashMap::clone(table);
            before = table.insert(deployment.name.clone(), Arc::clone(&deployment));
            table
        });
        before
    }

    /// Removes a deployment and returns it.
    pub fn remove(&self, name: &str) -> Option<Arc<Deployment>> {
        let mut removed = None;
        self.table.rcu(|table| {
            let mut table = HashMap::clone(table);
            removed = table.remove(name);
            table
        });
        removed
    }

    /// Removes a deployment unless another one with a different sequence number has replaced it.
    pub fn remove_if(&self, name: &str, sequence: u64) {
        self.table.rcu(|table| {
            if table.get(name).is_none_or(|deployment| deployment.sequence != sequence) {
                return Arc::clone(table);
            }
            let mut table = HashMap::clone(table);
            table.remove(name);
            Arc::new(table)
        });
    }

    /// Every deployment, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Deployment>> {
        let mut all: Vec<Arc<Deployment>> = self.table.load().values().cloned().collect();
        all.sort_by_key(|deployment| std::cmp::Reverse(deployment.sequence));
        all
    }
}
