//! How far the registry of the cluster had come when this gateway last looked, on its disk. A registry that has gone
//! back since then has lost data, and is not obeyed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cluster::identity::FOLDER;
use crate::registry::durable;

const FILE: &str = "seen.json";

/// What this gateway has seen of the registry.
pub(super) struct Seen {
    file: PathBuf,
    /// Held while the file is written.
    turn: tokio::sync::Mutex<()>,
    /// As it is on disk.
    stored: Mutex<Option<Registry>>,
    revision: AtomicU64,
    /// Why the registry is not obeyed.
    lost: Mutex<Option<String>>,
}

/// A registry at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registry {
    /// When it was made: a registry that is made again has another time.
    created: String,
    /// The newest revision.
    revision: u64,
}

impl Seen {
    /// Reads what was seen. Blocks.
    pub(super) fn load(data_dir: &Path) -> io::Result<Self> {
        let file = data_dir.join(FOLDER).join(FILE);
        let stored: Option<Registry> = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let revision = AtomicU64::new(stored.as_ref().map_or(0, |stored| stored.revision));
        Ok(Self {
            file,
            turn: tokio::sync::Mutex::default(),
            stored: Mutex::new(stored),
            revision,
            lost: Mutex::default(),
        })
    }

    /// Forgets what was seen. Blocks.
    pub(super) fn forget(data_dir: &Path) -> io::Result<()> {
        durable::remove_if_exists(&data_dir.join(FOLDER).join(FILE))
    }

    /// Whether no registry was seen yet.
    pub(super) fn is_new(&self) -> bool {
        self.stored.lock().is_none()
    }

    /// Why the registry is not obeyed, if it is not.
    pub(super) fn lost(&self) -> Option<String> {
        self.lost.lock().clone()
    }

    /// A revision was seen.
    pub(super) fn note(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::Relaxed);
    }

    /// Compares the registry with what was seen, and stores how far it has come.
    ///
    /// # Errors
    ///
    /// It has gone back.
    pub(super) async fn check(&self, created: &str, last: u64) -> Result<(), String> {
        let stored = self.stored.lock().clone();
        let fault = match &stored {
            Some(known) if known.created != created => Some("it was made again".to_owned()),
            Some(_) if last < self.revision.load(Ordering::Relaxed) => {
                let seen = self.revision.load(Ordering::Relaxed);
                Some(format!("its newest revision is {last}, and {seen} was seen before"))
            }
            _ => None,
        };
        if let Some(fault) = fault {
            let words = format!(
                "the registry of the cluster has lost data ({fault}): nothing of it is taken over; `metagate cluster \
                 restore` writes back what this gateway has"
            );
            if self.lost.lock().replace(words.clone()).is_none() {
                tracing::error!("{words}");
            }
            return Err(words);
        }
        *self.lost.lock() = None;
        self.store(Registry { created: created.to_owned(), revision: last.max(self.revision.load(Ordering::Relaxed)) })
            .await
    }

    /// Obeys a registry from now on that was made again.
    pub(super) async fn accept(&self, created: &str, last: u64) -> Result<(), String> {
        self.revision.store(last, Ordering::Relaxed);
        self.store(Registry { created: created.to_owned(), revision: last }).await?;
        *self.lost.lock() = None;
        Ok(())
    }

    async fn store(&self, registry: Registry) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        if self.stored.lock().as_ref() == Some(&registry) {
            return Ok(());
        }
        let (file, text) = (self.file.clone(), serde_json::to_vec(&registry).expect("it has only strings as keys"));
        let stored = tokio::task::spawn_blocking(move || durable::write(&file, &text));
        match stored.await {
            Ok(Ok(())) => {
                *self.stored.lock() = Some(registry);
                Ok(())
            }
            Ok(Err(error)) => Err(format!("noting the revision of the cluster's registry failed: {error}")),
            Err(_) => Err("the gateway failed: see its log".to_owned()),
        }
    }
}
