//! Changes of deployments that other gateways have made, as they come from the cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Watch};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::engine::{Engine, in_words, while_fresh};
use crate::cluster::nodes::Nodes;
use crate::cluster::progress::Progress;
use crate::cluster::records::{ClusterRecords, PREFIX, name_of};
use crate::cluster::seen::Seen;
use crate::deployment::DeploymentName;
use crate::registry::record::Record;

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What a gateway has to do for its cluster.
#[derive(Debug)]
pub enum Change {
    /// A deployment was changed.
    Record(Box<Record>),
    /// The registry had lost data, and is obeyed again: what it lacks is to be written back.
    Restored,
}

/// The changes that this gateway has not made its own yet: of each deployment, the newest.
#[derive(Default)]
pub(super) struct Waiting {
    records: Mutex<BTreeMap<DeploymentName, Record>>,
    /// The newest revisions that were heard of.
    newest: Mutex<HashMap<DeploymentName, u64>>,
    added: Notify,
    restored: AtomicBool,
    goes_on: Notify,
}

impl Waiting {
    fn add(&self, record: Record, progress: &Progress) {
        let revision = record.revision.unwrap_or(0);
        progress.hear(revision);
        self.newest.lock().insert(record.name.clone(), revision);
        if let Some(older) = self.records.lock().insert(record.name.clone(), record)
            && older.revision != Some(revision)
        {
            progress.skip(older.revision.unwrap_or(0));
        }
        self.added.notify_one();
    }

    /// A change that could not be made is tried again, unless a newer one of its deployment has come.
    pub(super) fn add_again(&self, record: Record, progress: &Progress) {
        let newest = self.newest.lock().get(&record.name).copied();
        if newest == record.revision {
            self.add(record, progress);
        }
    }

    /// Has what the registry lacks written back, and waits for it.
    async fn restore(&self) {
        self.records.lock().clear();
        self.newest.lock().clear();
        self.restored.store(true, Ordering::Release);
        self.added.notify_one();
        self.goes_on.notified().await;
    }

    pub(super) fn go_on(&self) {
        self.goes_on.notify_one();
    }

    /// The next change.
    pub(super) async fn next(&self) -> Change {
        loop {
            if self.restored.swap(false, Ordering::AcqRel) {
                return Change::Restored;
            }
            if let Some((_, record)) = self.records.lock().pop_first() {
                return Change::Record(Box::new(record));
            }
            self.added.notified().await;
        }
    }
}

/// What follows the changes.
pub(super) struct Follower {
    pub(super) engine: Arc<Engine>,
    pub(super) records: Arc<ClusterRecords>,
    pub(super) progress: Arc<Progress>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) seen: Arc<Seen>,
    pub(super) nodes: Arc<Nodes>,
}

impl Follower {
    /// Follows the changes, for ever.
    pub(super) async fn follow(&self) {
        // Everything is read once, and later only what is newer.
        let mut from = 0;
        loop {
            let openings = self.engine.openings();
            match self.watch(&mut from).await {
                Ok(watch) => while_fresh(openings, self.take(watch, &mut from)).await,
                Err(_told_already) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn watch(&self, from: &mut u64) -> Result<Watch, String> {
        let buckets = self.engine.buckets().map_err(|error| error.to_string())?;
        let position = self.records.position().await.map_err(|error| error.to_string())?;
        if let Err(lost) = self.seen.check(&position.created, position.last).await {
            let restored = self.records.restored().await.map_err(|error| error.to_string())?;
            if restored.as_ref() != Some(&position.created) {
                return Err(lost);
            }
            self.seen.accept(&position.created, position.last).await?;
            self.progress.start_again();
            self.waiting.restore().await;
            *from = 0;
        }
        let keys = format!("{PREFIX}*");
        let watch = if *from == 0 {
            buckets.registry.watch_with_history(keys).await
        } else {
            buckets.registry.watch_from_revision(keys, *from + 1).await
        };
        watch.map_err(|error| in_words(&error))
    }

    async fn take(&self, mut watch: Watch, from: &mut u64) {
        while let Some(entry) = watch.next().await {
            let Ok(entry) = entry else { return };
            // A key that is gone deletes nothing: only a record that says so does.
            if entry.operation == Operation::Put {
                match self.records.decode(&entry.value, entry.revision) {
                    Ok((record, _)) => self.waiting.add(record, &self.progress),
                    Err(reason) => {
                        let (key, revision) = (entry.key, entry.revision);
                        tracing::error!(key, revision, %reason, "a record of the cluster is refused");
                        self.progress.hear(revision);
                        let failure = Some(format!("the record is refused: {reason}"));
                        self.progress.end(&name_of(&key), revision, failure);
                        self.nodes.tell();
                    }
                }
            }
            *from = (*from).max(entry.revision);
            self.seen.note(*from);
        }
    }
}
