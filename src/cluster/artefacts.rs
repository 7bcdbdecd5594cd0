//! Packages of releases in an object store of the cluster, with copies on this gateway's disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, Object};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use ulid::Ulid;

use crate::cluster::engine::{Engine, in_words};
use crate::config::Sha256;
use crate::deployment::DeploymentName;
use crate::registry::local::LocalArtefacts;
use crate::registry::shared::{Artefacts, Boxed, SharedError};
use crate::registry::store::{StorageError, Store};

/// Maximum size of a package: the object store of NATS is not made for larger ones.
const LIMIT: u64 = 256 << 20;
/// How long a package is looked for that should be there.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// The packages of a cluster.
pub(super) struct ClusterArtefacts {
    engine: Arc<Engine>,
    store: Arc<Store>,
    copies: LocalArtefacts,
}

impl ClusterArtefacts {
    pub(super) fn new(engine: Arc<Engine>, store: Arc<Store>) -> Self {
        Self { engine, copies: LocalArtefacts::new(Arc::clone(&store)), store }
    }

    /// Sends a package to the servers, unless they have it, and makes sure that they have what was sent.
    async fn send(&self, sha256: Sha256, file: &Path) -> Result<(), SharedError> {
        let releases = self.engine.buckets()?.releases.clone();
        let mut data = tokio::fs::File::open(file).await.map_err(disk("reading the package"))?;
        let size = data.metadata().await.map_err(disk("reading the package"))?.len();
        if size > LIMIT {
            return Err(SharedError::TooLarge { what: "the package", size, limit: LIMIT });
        }
        let name = sha256.to_string();
        match releases.info(&name).await {
            Ok(info) if !info.deleted => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(self.unavailable(&error)),
        }
        releases.put(name.as_str(), &mut data).await.map_err(|error| self.unavailable(&error))?;
        let mut sink = tokio::io::sink();
        self.receive(sha256, &mut sink).await
    }

    /// Reads a package from the servers, and checks its digest.
    async fn receive(&self, sha256: Sha256, out: &mut (impl tokio::io::AsyncWrite + Unpin)) -> Result<(), SharedError> {
        let mut object = self.find(sha256).await?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            // The client's own check of the digest fails in the last read.
            let count = object.read(&mut buffer).await.map_err(|error| self.unavailable(&error))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count]).await.map_err(disk("storing the package"))?;
        }
        out.flush().await.map_err(disk("storing the package"))?;
        let is_same = hasher.finalize().as_slice() == sha256.bytes().as_slice();
        if is_same { Ok(()) } else { Err(SharedError::Damaged(sha256)) }
    }

    /// Finds a package. A server that lags behind may not have it yet: it is looked for again for a while.
    async fn find(&self, sha256: Sha256) -> Result<Object, SharedError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let releases = self.engine.buckets()?.releases.clone();
            match releases.get(sha256.to_string()).await {
                Ok(object) => return Ok(object),
                Err(error) if error.kind() != GetErrorKind::NotFound => return Err(self.unavailable(&error)),
                Err(_) if Instant::now() > end => return Err(SharedError::Missing(sha256)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn receive_file(&self, name: &DeploymentName, sha256: Sha256) -> Result<(), SharedError> {
        let place = self.store.data_dir().join("staging").join(format!("{}.zip", Ulid::new()));
        let mut file = tokio::fs::File::create(&place).await.map_err(disk("storing the package"))?;
        let received = self.receive(sha256, &mut file).await;
        drop(file);
        if let Err(error) = received {
            let _removed_at_the_next_start = tokio::fs::remove_file(&place).await;
            return Err(error);
        }
        self.copies.put(name, sha256, place).await
    }

    fn unavailable(&self, error: &(dyn std::error::Error + 'static)) -> SharedError {
        SharedError::Unavailable(in_words(error))
    }
}

impl Artefacts for ClusterArtefacts {
    fn keeps(&self) -> bool {
        true
    }

    fn put(&self, name: &DeploymentName, sha256: Sha256, file: PathBuf) -> Boxed<'_, Result<(), SharedError>> {
        let name = name.clone();
        Box::pin(async move {
            self.send(sha256, &file).await?;
            self.copies.put(&name, sha256, file).await
        })
    }

    fn fetch(&self, name: &DeploymentName, sha256: Sha256) -> Boxed<'_, Result<PathBuf, SharedError>> {
        let name = name.clone();
        Box::pin(async move {
            match self.copies.fetch(&name, sha256).await {
                Err(SharedError::Missing(_)) => self.receive_file(&name, sha256).await?,
                copy => return copy,
            }
            self.copies.fetch(&name, sha256).await
        })
    }
}

fn disk(act: &'static str) -> impl FnOnce(std::io::Error) -> SharedError {
    move |cause| SharedError::Storage(StorageError::Disk { act, cause })
}
