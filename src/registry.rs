//! Which deployments there are and what serves each now. Readers never lock: they take the table as it is, and writers
//! put a new one in its place in one step. The durable record of releases belongs here too.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::deployment::DeploymentName;
use crate::worker::logs::LogBook;
use crate::worker::outcome::LoadFailure;
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
}

/// What serves a deployment.
pub enum Serving {
    /// Workers, ready or starting.
    Pool(Arc<Pool>),
    /// Nothing: its files or its runtime cannot be used.
    Refused(Arc<LoadFailure>),
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

    /// Every deployment, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Live>> {
        let mut all: Vec<Arc<Live>> = self.live.load().values().cloned().collect();
        all.sort_by_key(|live| std::cmp::Reverse(live.sequence));
        all
    }
}
