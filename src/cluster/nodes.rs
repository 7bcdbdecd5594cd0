//! The gateways of a cluster that are there. Each puts a sign of life into a bucket every few seconds, and at once when
//! it has made a change of the cluster its own; the bucket forgets it after ten seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Watch};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cluster::engine::{Engine, SIGN_OF_LIFE, in_words, while_fresh};
use crate::cluster::identity::Identity;
use crate::cluster::progress::Progress;

/// The pause between two signs of life.
const PACE: Duration = Duration::from_secs(3);
/// How often the others are looked at where no sign of theirs comes.
const LOOK: Duration = Duration::from_secs(1);
const PREFIX: &str = "node.";

/// A gateway of the cluster, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// All changes of deployments up to this revision have been made there, or have failed.
    pub applied: u64,
    /// Deployments whose newest release does not serve there, with the reasons.
    pub failures: BTreeMap<String, String>,
    /// Whether deploys no longer wait for it.
    pub drained: bool,
}

/// The gateways that are there.
pub struct Nodes {
    engine: Arc<Engine>,
    own: Identity,
    progress: Arc<Progress>,
    drained: AtomicBool,
    others: watch::Sender<BTreeMap<String, (Node, Instant)>>,
    /// Told when there is something new to say.
    news: Notify,
}

impl Nodes {
    pub(super) fn new(engine: Arc<Engine>, own: Identity, progress: Arc<Progress>) -> Self {
        let (others, _) = watch::channel(BTreeMap::new());
        Self { engine, own, progress, drained: AtomicBool::new(false), others, news: Notify::new() }
    }

    /// This gateway.
    #[must_use]
    pub fn own(&self) -> Node {
        let reached = self.progress.reached();
        Node {
            id: self.own.id.clone(),
            name: self.own.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            applied: reached.applied,
            failures: reached.failures,
            drained: self.drained.load(Ordering::Relaxed),
        }
    }

    /// The other gateways that are there.
    #[must_use]
    pub fn others(&self) -> Vec<Node> {
        let others = self.others.borrow();
        others.values().filter(|(_, seen)| seen.elapsed() < SIGN_OF_LIFE).map(|(node, _)| node.clone()).collect()
    }

    /// Follows the other gateways.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<BTreeMap<String, (Node, Instant)>> {
        self.others.subscribe()
    }

    /// Whether deploys no longer wait for this gateway.
    pub fn drain(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
        self.tell();
    }

    /// Says at once how far this gateway has come.
    pub(super) fn tell(&self) {
        self.news.notify_one();
    }

    /// Gives signs of life, for ever.
    pub(super) async fn give_signs(&self) {
        loop {
            let _told_or_due = tokio::time::timeout(PACE, self.news.notified()).await;
            let Ok(buckets) = self.engine.buckets() else { continue };
            let sign = serde_json::to_vec(&self.own()).expect("a node has only strings as keys");
            match buckets.nodes.put(format!("{PREFIX}{}", self.own.id), sign.into()).await {
                Ok(_) => self.engine.answered(),
                Err(error) => self.engine.unanswered(&in_words(&error)),
            }
        }
    }

    /// Looks at the signs of others, for ever.
    pub(super) async fn look(&self) {
        loop {
            let openings = self.engine.openings();
            if let Ok(buckets) = self.engine.buckets()
                && let Ok(signs) = buckets.nodes.watch_with_history(format!("{PREFIX}*")).await
            {
                while_fresh(openings, self.see(signs)).await;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn see(&self, mut signs: Watch) {
        while let Some(Ok(entry)) = signs.next().await {
            let id = entry.key.strip_prefix(PREFIX).unwrap_or_default();
            if id == self.own.id {
                continue;
            }
            let node = serde_json::from_slice::<Node>(&entry.value).ok().filter(|node| node.id == id);
            let is_there = entry.operation == Operation::Put;
            self.others.send_modify(|others| {
                others.retain(|_, (_, seen)| seen.elapsed() < SIGN_OF_LIFE);
                match node.filter(|_| is_there) {
                    Some(node) => drop(others.insert(id.to_owned(), (node, Instant::now()))),
                    None => drop(others.remove(id)),
                }
            });
        }
    }
}
