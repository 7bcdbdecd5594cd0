//! What stands in front of the deployments: CORS. It is made of one configuration as a whole, and a reload replaces it
//! in one step. Without such tables in the configuration it does nothing.

pub mod cors;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::Request;

use crate::config::{Config, CorsConfig};
use crate::deployment::{DeploymentName, RESERVED_NAMES};
use crate::http::front::cors::CorsPolicy;
use crate::http::path::{self, Target};

/// The front of a gateway.
#[derive(Debug, Default)]
pub struct Front {
    table: ArcSwapOption<Table>,
    /// Preflights that were answered with a permission, and those that were refused.
    preflights: [AtomicU64; 2],
}

/// What one configuration says.
#[derive(Debug)]
struct Table {
    cors: Option<Arc<CorsPolicy>>,
    deployments: HashMap<DeploymentName, Arc<CorsPolicy>>,
}

/// What the front has for a request.
#[derive(Debug)]
pub struct Entry {
    /// What pages of other origins may do there.
    pub cors: Option<Arc<CorsPolicy>>,
}

impl Front {
    /// The front of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let front = Self::default();
        front.replace(config);
        front
    }

    /// Makes it that of another configuration, in one step.
    pub fn replace(&self, config: &Config) {
        self.table.store(Table::of(config).map(Arc::new));
    }

    /// What there is for a request.
    #[must_use]
    pub fn find<B>(&self, request: &Request<B>) -> Option<Box<Entry>> {
        let table = self.table.load();
        let table = table.as_ref()?;
        let cors = table.policy_at(request.uri().path()).cloned();
        cors.is_some().then(|| Box::new(Entry { cors }))
    }

    /// Counts the answer to a preflight.
    pub fn count_preflight(&self, permitted: bool) {
        self.preflights[usize::from(!permitted)].fetch_add(1, Ordering::Relaxed);
    }

    /// Preflights so far: permitted ones, and refused ones.
    #[must_use]
    pub fn preflights(&self) -> [u64; 2] {
        [0, 1].map(|at| self.preflights[at].load(Ordering::Relaxed))
    }
}

impl Table {
    /// None if the configuration has nothing for the front.
    fn of(config: &Config) -> Option<Self> {
        let policy = |cors: &CorsConfig| Arc::new(CorsPolicy::new(cors));
        let own = config.deployments.iter();
        let deployments: HashMap<_, _> =
            own.filter_map(|own| Some((own.name.clone(), policy(own.cors.as_ref()?)))).collect();
        let cors = config.server.cors.as_ref().map(policy);
        (cors.is_some() || !deployments.is_empty()).then_some(Self { cors, deployments })
    }

    /// The policy of an address of a deployment, or of what is nowhere. The gateway's own addresses have none.
    fn policy_at(&self, path: &str) -> Option<&Arc<CorsPolicy>> {
        let name = match path::parse(path) {
            Ok(Target::Call(address)) => address.name,
            Ok(Target::Http(address)) => address.name,
            Ok(Target::Static(address)) => address.name,
            Ok(Target::Other) | Err(_) if is_own(path) => return None,
            Ok(Target::Other) | Err(_) => return self.cors.as_ref(),
        };
        self.deployments.get(name.as_ref()).or(self.cors.as_ref())
    }
}

/// Whether an address is one of the gateway's own.
fn is_own(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    first.is_empty() || RESERVED_NAMES.iter().any(|name| name.eq_ignore_ascii_case(first))
}
