//! Several gateways as one: what is deployed to one of them serves on all. Records of deployments, packages and signs
//! of life are in JetStream, on NATS servers that somebody else runs; nothing here decides who leads. Each gateway has
//! a copy of all on its own disk, and serves from it while the servers are away. `docs/cluster.md` says what is
//! promised.

mod artefacts;
pub mod changes;
pub mod engine;
pub mod identity;
pub mod nodes;
mod progress;
mod records;
mod sealed;
mod seen;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::artefacts::ClusterArtefacts;
use crate::cluster::changes::{Change, Follower, Waiting};
use crate::cluster::engine::Engine;
use crate::cluster::identity::Identity;
use crate::cluster::nodes::Nodes;
use crate::cluster::progress::Progress;
use crate::cluster::records::ClusterRecords;
use crate::cluster::seen::Seen;
use crate::config::ClusterConfig;
use crate::registry::record::Record;
use crate::registry::shared::{Artefacts, Records, SharedError};
use crate::registry::store::{StorageError, Store};
use crate::supervise;

const CONNECTING: &str = "cluster-connection";
const FOLLOWING: &str = "cluster-changes";
const SIGNS: &str = "cluster-signs";
const LOOKS: &str = "cluster-nodes";

/// The cluster that this gateway is part of.
pub struct Cluster {
    /// `[cluster]`.
    pub config: ClusterConfig,
    /// The servers that keep its state.
    pub engine: Arc<Engine>,
    /// The gateways.
    pub nodes: Arc<Nodes>,
    records: Arc<ClusterRecords>,
    artefacts: Arc<ClusterArtefacts>,
    progress: Arc<Progress>,
    waiting: Arc<Waiting>,
    seen: Arc<Seen>,
}

impl Cluster {
    /// The cluster of a configuration. Nothing is connected yet. Blocks.
    ///
    /// # Errors
    ///
    /// What the gateway knows of its cluster cannot be read or written.
    pub fn new(config: &ClusterConfig, data_dir: &Path, store: &Arc<Store>) -> io::Result<Self> {
        let identity = Identity::load(data_dir, config)?;
        let engine = Arc::new(Engine::new(config.clone()));
        let progress = Arc::new(Progress::default());
        let seen = Arc::new(Seen::load(data_dir)?);
        if seen.is_new() {
            // The revisions are those of a gateway that was alone.
            forget_revisions(store).map_err(io::Error::other)?;
        }
        let records = ClusterRecords::new(Arc::clone(&engine), Arc::clone(store), Arc::clone(&seen), config);
        Ok(Self {
            config: config.clone(),
            nodes: Arc::new(Nodes::new(Arc::clone(&engine), identity, Arc::clone(&progress))),
            records: Arc::new(records),
            artefacts: Arc::new(ClusterArtefacts::new(Arc::clone(&engine), Arc::clone(store))),
            waiting: Arc::default(),
            seen,
            engine,
            progress,
        })
    }

    /// The records of deployments.
    #[must_use]
    pub fn records(&self) -> Arc<dyn Records> {
        Arc::clone(&self.records) as Arc<dyn Records>
    }

    /// The packages of releases.
    #[must_use]
    pub fn artefacts(&self) -> Arc<dyn Artefacts> {
        Arc::clone(&self.artefacts) as Arc<dyn Artefacts>
    }

    /// Connects, gives signs of life and follows the others, until `stop` is cancelled.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let engine = Arc::clone(&self.engine);
        supervise::until_stopped(tasks, stop, CONNECTING, move || {
            let engine = Arc::clone(&engine);
            async move { engine.connect().await }
        });
        let nodes = Arc::clone(&self.nodes);
        supervise::until_stopped(tasks, stop, SIGNS, move || {
            let nodes = Arc::clone(&nodes);
            async move { nodes.give_signs().await }
        });
        let nodes = Arc::clone(&self.nodes);
        supervise::until_stopped(tasks, stop, LOOKS, move || {
            let nodes = Arc::clone(&nodes);
            async move { nodes.look().await }
        });
        let follower = Arc::new(Follower {
            engine: Arc::clone(&self.engine),
            records: Arc::clone(&self.records),
            progress: Arc::clone(&self.progress),
            waiting: Arc::clone(&self.waiting),
            seen: Arc::clone(&self.seen),
            nodes: Arc::clone(&self.nodes),
        });
        supervise::until_stopped(tasks, stop, FOLLOWING, move || {
            let follower = Arc::clone(&follower);
            async move { follower.follow().await }
        });
    }

    /// The next change that some gateway has made. Whoever takes it says how it [ended](Self::changed).
    pub async fn next_change(&self) -> Change {
        self.waiting.next().await
    }

    /// Tries a change again that could not be made, unless there is a newer one of its deployment.
    pub fn try_again(&self, record: Record) {
        self.waiting.add_again(record, &self.progress);
    }

    /// What the registry has lost was written back: its changes are followed again.
    pub fn go_on(&self) {
        self.waiting.go_on();
    }

    /// Has all gateways obey the registry from now on, although it has lost data. Returns when this one does.
    ///
    /// # Errors
    ///
    /// The servers do not answer, or this gateway cannot note it.
    pub async fn declare_restored(&self) -> Result<(), SharedError> {
        let position = self.records.position().await?;
        self.records.declare_restored(&position).await?;
        self.seen.accept(&position.created, position.last).await.map_err(SharedError::Unavailable)
    }

    /// A change of the cluster is this gateway's own now, or why it is not. Returns whether that is another outcome
    /// than before.
    pub fn changed(&self, name: &str, revision: u64, failure: Option<String>) -> bool {
        let is_news = self.progress.end(name, revision, failure);
        self.nodes.tell();
        is_news
    }

    /// Why the registry of the cluster is not obeyed, if it is not.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.seen.lost()
    }
}

/// Leaves the cluster, if the gateway was part of one: what it changes alone has revisions of its own. Blocks.
///
/// # Errors
///
/// What it knows of the cluster cannot be removed.
pub fn leave(data_dir: &Path) -> io::Result<()> {
    Seen::forget(data_dir)
}

fn forget_revisions(store: &Store) -> Result<(), StorageError> {
    for mut record in store.records() {
        if record.revision.take().is_some() {
            store.save(record)?;
        }
    }
    Ok(())
}
