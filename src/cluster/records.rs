//! Records of deployments in a bucket of the cluster, replaced by compare-and-set, with a copy on this gateway's disk.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::UpdateErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use tokio::time::Instant;
use ulid::Ulid;

use crate::cluster::engine::{Engine, in_words};
use crate::cluster::sealed::{self, BadValue, SealingKey};
use crate::cluster::seen::Seen;
use crate::config::ClusterConfig;
use crate::deployment::DeploymentName;
use crate::registry::record::Record;
use crate::registry::shared::{Boxed, Records, SharedError, on_disk};
use crate::registry::store::Store;

/// How long a change is tried while the servers choose another leader.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// The key that says which registry is obeyed although it has lost data.
const RESTORED: &str = "restored";
/// The first part of the keys of records.
pub(super) const PREFIX: &str = "dep.";

/// The records of a cluster.
pub(super) struct ClusterRecords {
    engine: Arc<Engine>,
    store: Arc<Store>,
    seen: Arc<Seen>,
    key: Option<SealingKey>,
}

/// How far a registry has come.
pub(super) struct Position {
    /// When it was made.
    pub(super) created: String,
    /// Its newest revision.
    pub(super) last: u64,
}

impl ClusterRecords {
    pub(super) fn new(engine: Arc<Engine>, store: Arc<Store>, seen: Arc<Seen>, config: &ClusterConfig) -> Self {
        Self { engine, store, seen, key: config.secret.as_ref().map(SealingKey::new) }
    }

    /// How far the registry has come.
    pub(super) async fn position(&self) -> Result<Position, SharedError> {
        let buckets = self.engine.buckets()?;
        let info = buckets.registry.stream.get_info().await.map_err(|error| self.unavailable(&error))?;
        self.engine.answered();
        Ok(Position { created: info.created.to_string(), last: info.state.last_sequence })
    }

    /// When the registry was made that is obeyed although it has lost data; none if there is no such one.
    pub(super) async fn restored(&self) -> Result<Option<String>, SharedError> {
        let buckets = self.engine.buckets()?;
        let value = buckets.registry.get(RESTORED).await.map_err(|error| self.unavailable(&error))?;
        Ok(value.and_then(|value| String::from_utf8(value.to_vec()).ok()))
    }

    /// Has this registry obeyed, although it has lost data.
    pub(super) async fn declare_restored(&self, position: &Position) -> Result<(), SharedError> {
        let buckets = self.engine.buckets()?;
        let put = buckets.registry.put(RESTORED, position.created.clone().into()).await;
        put.map(drop).map_err(|error| self.unavailable(&error))
    }

    /// The record of a value of the bucket, and the change that stored it.
    pub(super) fn decode(&self, value: &[u8], revision: u64) -> Result<(Record, String), BadValue> {
        let (mut record, change) = sealed::decode(value, self.key.as_ref())?;
        record.revision = Some(revision);
        Ok((record, change))
    }

    async fn read(&self, name: &DeploymentName) -> Result<Option<(Record, String)>, SharedError> {
        let Position { created, last } = self.position().await?;
        self.seen.check(&created, last).await.map_err(SharedError::Unavailable)?;
        let buckets = self.engine.buckets()?;
        let subject = format!("{}{}", buckets.registry.prefix, key_of(name));
        // Not by the bucket's own way of reading, which any server answers: one that lags behind would say what was.
        let message = match buckets.registry.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(self.unavailable(&error)),
        };
        let bad = |bad: BadValue| SharedError::Unavailable(format!("the record of {name:?} is refused: {bad}"));
        self.decode(&message.payload, message.sequence).map(Some).map_err(bad)
    }

    /// The copy of a record. A release that only this gateway has serves until one of the cluster takes its place.
    fn copy_of(&self, record: &Record) -> Record {
        match self.store.record(record.name.as_str()).filter(|own| own.is_unshared() && record.live.is_none()) {
            Some(own) => Record {
                upload: record.upload.clone(),
                next: own.next.max(record.next),
                revision: record.revision,
                ..own
            },
            None => record.clone(),
        }
    }

    fn unavailable(&self, error: &(dyn std::error::Error + 'static)) -> SharedError {
        let reason = in_words(error);
        self.engine.unanswered(&reason);
        SharedError::Unavailable(reason)
    }

    /// Replaces the value of a key. If the servers do not answer, it may have been replaced all the same: the change
    /// that is read then tells.
    async fn write(&self, record: &Record) -> Result<u64, SharedError> {
        let change = Ulid::new().to_string();
        let value = sealed::encode(record, &change, self.key.as_ref());
        let end = Instant::now() + PATIENCE;
        let mut is_doubtful = false;
        loop {
            let buckets = self.engine.buckets()?;
            check_size(
                "the record",
                value.len() as u64,
                buckets.registry.stream.cached_info().config.max_message_size,
            )?;
            let key = key_of(&record.name);
            let reason = match buckets.registry.update(key, value.clone().into(), record.revision.unwrap_or(0)).await {
                Ok(revision) => return Ok(revision),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    let stored = if is_doubtful { self.read(&record.name).await? } else { None };
                    let ours = stored.filter(|(_, stored)| *stored == change).and_then(|(record, _)| record.revision);
                    return ours.ok_or_else(|| SharedError::Conflict(record.name.to_string()));
                }
                Err(error) => self.unavailable(&error),
            };
            if Instant::now() + PAUSE > end {
                return Err(reason);
            }
            is_doubtful = true;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Records for ClusterRecords {
    fn newest(&self, name: &DeploymentName) -> Boxed<'_, Result<Option<Record>, SharedError>> {
        let name = name.clone();
        Box::pin(async move { Ok(self.read(&name).await?.map(|(record, _)| record)) })
    }

    fn replace(&self, mut record: Record) -> Boxed<'_, Result<Record, SharedError>> {
        Box::pin(async move {
            self.store.check_writable()?;
            record.revision = Some(self.write(&record).await?);
            let (store, copy, name) = (Arc::clone(&self.store), self.copy_of(&record), record.name.clone());
            // It counts already, on all gateways: this one must not say that nothing was changed.
            if let Err(error) = on_disk(move || Ok(store.save(copy)?)).await {
                tracing::error!(deployment = %name, %error, "the copy of a record of the cluster was not stored");
            }
            Ok(record)
        })
    }
}

/// The key of a deployment's record. A dot in its name would make two parts of it.
pub(super) fn key_of(name: &DeploymentName) -> String {
    format!("{PREFIX}{}", name.as_str().replace('.', "="))
}

/// The name of the deployment whose record has this key.
pub(super) fn name_of(key: &str) -> String {
    key.strip_prefix(PREFIX).unwrap_or(key).replace('=', ".")
}

fn check_size(what: &'static str, size: u64, limit: i32) -> Result<(), SharedError> {
    match u64::try_from(limit) {
        Ok(limit) if limit > 0 && size > limit => Err(SharedError::TooLarge { what, size, limit }),
        _ => Ok(()),
    }
}
