//! Which deployments there are and what serves each now. Readers never lock: they take the table as it is, and writers
//! put a new one in its place in one step. What of it survives a restart is in `store`.

mod durable;
pub mod record;
pub mod store;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::DeploymentConfig;
use crate::deployment::{DeploymentName, Fingerprint};
use crate::logs::book::LogBook;
use crate::plugin::chain::{Chain, DeploymentChain};
use crate::worker::outcome::{CallError, LoadFailure};
use crate::worker::pool::Pool;

/// A deployment as it is now.
pub struct Live {
    /// Its name.
    pub name: DeploymentName,
    /// What serves it.
    pub serving: Serving,
    /// What its workers print.
    pub logs: Arc<LogBook>,
    /// Rises with each deployment: the newest has the highest.
    pub sequence: u64,
    /// The plugins that its calls run through.
    pub chain: ArcSwap<DeploymentChain>,
    /// What load hooks have said about it.
    pub labels: Labels,
    /// The state of its files when they were loaded; none for a stored release, whose files do not change.
    pub fingerprint: Option<Fingerprint>,
    /// Which stored release it is; none for a deployment of the configuration.
    pub stored: Option<Stored>,
    /// The configuration that it was made of.
    pub config: DeploymentConfig,
}

/// A release that was deployed over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub release: u64,
    /// `package` or `repository`.
    pub origin: &'static str,
}

/// Labels by name; those of after-load come once it has loaded.
pub type Labels = Arc<Mutex<BTreeMap<String, String>>>;

impl Live {
    /// The plugins that a call of the function of this name runs through; none where none applies.
    #[must_use]
    pub fn chain_of(&self, function: &str) -> Option<Chain> {
        let chains = self.chain.load();
        if matches!(**chains, DeploymentChain::None) {
            return None;
        }
        chains.of(function, || match &self.serving {
            Serving::Pool(pool) => pool.exports().is_some_and(|exports| exports.functions.contains_key(function)),
            Serving::Refused(_) | Serving::Waiting => false,
        })
    }

    /// The name of the function that a caller means by a word, as [`Pool::name_of`]; a deployment that nothing serves knows
    /// no other names.
    pub async fn name_of<'a>(&self, called: &'a str, deadline: Instant) -> Result<Cow<'a, str>, CallError> {
        match self.pool() {
            Some(pool) => pool.name_of(called, deadline).await,
            None => Ok(Cow::Borrowed(called)),
        }
    }

    /// Whether what it offers is known: its first worker has loaded.
    #[must_use]
    pub fn has_loaded(&self) -> bool {
        self.pool().is_some_and(|pool| pool.exports().is_some())
    }

    /// Its workers, if it has any.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.serving {
            Serving::Pool(pool) => Some(pool),
            Serving::Refused(_) | Serving::Waiting => None,
        }
    }

    /// When a call that began at this time has to be over.
    #[must_use]
    pub fn deadline(&self, began: Instant) -> Instant {
        let timeout = match &self.serving {
            Serving::Pool(pool) => pool.settings.timeout,
            Serving::Refused(_) | Serving::Waiting => self.config.timeout.get(),
        };
        began + timeout
    }
}

/// What serves a deployment.
pub enum Serving {
    /// Workers, ready or starting.
    Pool(Arc<Pool>),
    /// Nothing: its files or its runtime cannot be used.
    Refused(Arc<LoadFailure>),
    /// Nothing yet: its turn to start has not come.
    Waiting,
}

/// Deployments by name.
#[derive(Default)]
pub struct Registry {
    live: ArcSwap<HashMap<DeploymentName, Arc<Live>>>,
}

impl Registry {
    /// The deployment of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Live>> {
        self.live.load().get(name).cloned()
    }

    /// Puts a deployment in the place of the one of the same name, and gives that back.
    pub fn put(&self, live: Live) -> Option<Arc<Live>> {
        let live = Arc::new(live);
        let mut before = None;
        self.live.rcu(|table| {
            let mut table = HashMap::clone(table);
            before = table.insert(live.name.clone(), Arc::clone(&live));
            table
        });
        before
    }

    /// Takes a deployment out of the table and gives it back.
    pub fn remove(&self, name: &str) -> Option<Arc<Live>> {
        let mut removed = None;
        self.live.rcu(|table| {
            let mut table = HashMap::clone(table);
            removed = table.remove(name);
            table
        });
        removed
    }

    /// Takes a deployment out of the table if it is still the one with this sequence number.
    pub fn remove_if(&self, name: &str, sequence: Option<u64>) {
        self.live.rcu(|table| {
            let is_it = table.get(name).is_some_and(|live| Some(live.sequence) == sequence);
            if !is_it {
                return Arc::clone(table);
            }
            let mut table = HashMap::clone(table);
            table.remove(name);
            Arc::new(table)
        });
    }

    /// Every deployment, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Live>> {
        let mut all: Vec<Arc<Live>> = self.live.load().values().cloned().collect();
        all.sort_by_key(|live| std::cmp::Reverse(live.sequence));
        all
    }
}
