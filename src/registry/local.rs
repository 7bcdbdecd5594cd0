//! Records and packages of a gateway that is alone: its own disk has them.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Sha256;
use crate::deployment::DeploymentName;
use crate::registry::record::{Record, archive_name};
use crate::registry::shared::{Artefacts, Boxed, Records, SharedError, on_disk};
use crate::registry::store::Store;

/// The records in the store.
pub struct LocalRecords {
    store: Arc<Store>,
    /// Held while a record is compared and replaced.
    turn: Arc<Mutex<()>>,
}

impl LocalRecords {
    /// The records of this store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, turn: Arc::default() }
    }
}

impl Records for LocalRecords {
    fn newest(&self, name: &DeploymentName) -> Boxed<'_, Result<Option<Record>, SharedError>> {
        let found = self.store.record(name.as_str());
        Box::pin(async move { Ok(found) })
    }

    fn replace(&self, mut record: Record) -> Boxed<'_, Result<Record, SharedError>> {
        let (store, turn) = (Arc::clone(&self.store), Arc::clone(&self.turn));
        Box::pin(on_disk(move || {
            let _turn = turn.lock();
            let current = store.record(record.name.as_str()).and_then(|record| record.revision);
            if current != record.revision {
                return Err(SharedError::Conflict(record.name.to_string()));
            }
            record.revision = Some(current.map_or(1, |revision| revision + 1));
            store.save(record.clone())?;
            Ok(record)
        }))
    }
}

/// The packages in the store.
pub struct LocalArtefacts {
    store: Arc<Store>,
}

impl LocalArtefacts {
    /// The packages of this store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Artefacts for LocalArtefacts {
    fn keeps(&self) -> bool {
        false
    }

    fn put(&self, name: &DeploymentName, sha256: Sha256, file: PathBuf) -> Boxed<'_, Result<(), SharedError>> {
        let (store, name) = (Arc::clone(&self.store), name.clone());
        Box::pin(on_disk(move || Ok(store.take_archive(&name, &file, &archive_name(sha256))?)))
    }

    fn fetch(&self, name: &DeploymentName, sha256: Sha256) -> Boxed<'_, Result<PathBuf, SharedError>> {
        let file = self.store.archive(name, &archive_name(sha256));
        Box::pin(on_disk(move || if file.is_file() { Ok(file) } else { Err(SharedError::Missing(sha256)) }))
    }
}
