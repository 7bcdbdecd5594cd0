//! Uploads: a package or a repository is checked as a whole and kept until it is deployed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::Sha256;
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::{Deployer, blocking};
use crate::registry::record::{Origin, Record, Upload, archive_name};
use crate::source::archive::{self, Limits, Links};
use crate::source::folder;
use crate::source::staging::Staging;

/// The folder of an archive's files in its staging folder.
pub(super) const FILES: &str = "files";

/// An uploaded archive that may become a release.
pub struct Package {
    /// Its deployment.
    pub name: DeploymentName,
    /// The archive, in the staging folder.
    pub archive: PathBuf,
    /// The staging folder of this upload.
    pub staging: Staging,
    /// Where it came from.
    pub origin: Origin,
    /// Metacall files that were uploaded next to the archive.
    pub jsons: Vec<MetaCallJson>,
    /// The runners whose dependencies are to be installed; none if the files decide.
    pub runners: Option<Vec<String>>,
    /// The upload slot. It bounds the archives that lie unpacked on disk, and is free once this one has been checked.
    pub slot: OwnedSemaphorePermit,
}

/// What an upload does about a deployment of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Fail.
    Keep,
    /// Become its next release when it is deployed.
    Replace,
}

impl Deployer {
    /// Checks an archive and keeps it until it is deployed. A deployment that never served may always be replaced.
    ///
    /// # Errors
    ///
    /// The archive is unusable, the name belongs to the configuration or is in use, or the disk failed.
    pub async fn add_package(self: &Arc<Self>, package: Package, existing: Existing) -> Result<(), DeployError> {
        self.check_name_is_free(&package.name, existing).await?;
        let package = self.unpack_to_check(package).await?;
        let deployer = Arc::clone(self);
        // A task of its own: a client that goes away does not interrupt the store between archive and record.
        let kept = self.gateway.tasks.spawn(async move { deployer.keep_package(package, existing).await });
        kept.await.unwrap_or(Err(DeployError::Internal))
    }

    /// Fetches a branch of a repository and keeps it until it is deployed. Returns the name of its deployment.
    ///
    /// # Errors
    ///
    /// The repository cannot be fetched, too many are being fetched, or it fails as in [`Self::add_package`].
    pub async fn add_repository(
        self: &Arc<Self>,
        url: &str,
        branch: Option<&str>,
        jsons: Vec<MetaCallJson>,
        may_change: impl Fn(&DeploymentName) -> bool,
    ) -> Result<DeploymentName, DeployError> {
        let staging = self.make_staging().await?;
        let slot = self.fetch_slot()?;
        let fetching = self.tools.repositories.fetch(url, branch, staging.path());
        let fetched = self.unless_draining(fetching).await??;
        let name = fetched.name;
        if !may_change(&name) {
            return Err(DeployError::NotPermitted(name.to_string()));
        }
        let origin = Origin::Repository { url: fetched.url, branch: fetched.branch, commit: fetched.commit };
        let archive = fetched.archive;
        let package = Package { name: name.clone(), archive, staging, origin, jsons, runners: None, slot };
        self.add_package(package, Existing::Replace).await?;
        Ok(name)
    }

    /// The branches of a repository.
    ///
    /// # Errors
    ///
    /// The repository cannot be reached, or too many are being fetched.
    pub async fn branches(&self, url: &str) -> Result<Vec<String>, DeployError> {
        let _slot = self.fetch_slot()?;
        Ok(self.unless_draining(self.tools.repositories.branches(url)).await??)
    }

    /// The paths of the files of a branch of a repository.
    ///
    /// # Errors
    ///
    /// The repository cannot be fetched, or too many are being fetched.
    pub async fn repository_files(&self, url: &str, branch: &str) -> Result<Vec<String>, DeployError> {
        let _slot = self.fetch_slot()?;
        let staging = self.make_staging().await?;
        Ok(self.unless_draining(self.tools.repositories.files(url, branch, staging.path())).await??)
    }

    fn fetch_slot(&self) -> Result<OwnedSemaphorePermit, DeployError> {
        Arc::clone(&self.fetching).try_acquire_owned().map_err(|_| DeployError::Overloaded)
    }

    async fn check_name_is_free(&self, name: &DeploymentName, existing: Existing) -> Result<(), DeployError> {
        let is_configured = self.check_not_configured(name.as_str());
        let is_stored = self.newest(name).await?.is_some_and(|record| record.live.is_some());
        match existing {
            Existing::Keep if is_configured.is_err() || is_stored => {
                Err(DeployError::AlreadyDeployed(name.as_str().to_owned()))
            }
            Existing::Keep => Ok(()),
            Existing::Replace => is_configured,
        }
    }

    async fn unpack_to_check(&self, package: Package) -> Result<Package, DeployError> {
        let permit = Arc::clone(&self.unpacking).acquire_owned().await.map_err(|_| DeployError::Stopping)?;
        // A blocking task cannot be cancelled. It owns the permits, so they are held until it ends.
        let checking = blocking(move || {
            let _permit = permit;
            let files = package.staging.path().join(FILES);
            unpack(&package.archive, &files, &package.origin, &package.jsons)?;
            // Only the archive is kept: the disk may not have room for both.
            let _removed_later = std::fs::remove_dir_all(&files);
            Ok(package)
        });
        self.unless_draining(checking).await?
    }

    async fn keep_package(self: Arc<Self>, package: Package, existing: Existing) -> Result<(), DeployError> {
        let Package { name, archive, staging, origin, jsons, runners, slot } = package;
        // Before the wait for the lock, which may be long: other uploads need the slot.
        drop(slot);
        let _lock = self.lock_changes(&name).await?;
        self.check_name_is_free(&name, existing).await?;
        let read = archive.clone();
        let sha256 = blocking(move || digest(&read).map_err(DeployError::disk("reading the package"))).await?;
        self.artefacts.put(&name, sha256, archive).await?;
        // Now that the archive has left it.
        drop(staging);
        let mut record = self.record_to_replace(&name).await?;
        let archive = archive_name(sha256);
        record.upload = Some(Upload { archive, origin, jsons, runners, sha256: Some(sha256) });
        self.records.replace(record).await?;
        Ok(())
    }

    /// The newest record of a name, or a new one for a name without.
    async fn record_to_replace(&self, name: &DeploymentName) -> Result<Record, DeployError> {
        let newest = self.records.newest(name).await?;
        let is_in_service = newest.as_ref().is_some_and(|newest| !newest.deleted && newest.live.is_some());
        if is_in_service && self.unshared(name.as_str()).is_some() {
            return Err(DeployError::Unshared(name.to_string()));
        }
        Ok(match newest {
            Some(record) if !record.deleted => record,
            deleted => {
                let mut record = self.store.new_record(name);
                if let Some(deleted) = deleted {
                    record.next = record.next.max(deleted.next);
                    record.revision = deleted.revision;
                }
                record
            }
        })
    }
}

/// The digest of a file. Blocks.
fn digest(file: &Path) -> io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    io::copy(&mut File::open(file)?, &mut hasher)?;
    Ok(Sha256::new(hasher.finalize().into()))
}

/// Unpacks an archive into `files`, a folder that it makes, and checks its metacall files. Blocks.
pub(super) fn unpack(archive: &Path, files: &Path, origin: &Origin, jsons: &[MetaCallJson]) -> Result<(), DeployError> {
    let links = match origin {
        Origin::Package => Links::Follow,
        Origin::Repository { .. } => Links::AsText,
    };
    std::fs::create_dir(files).map_err(DeployError::disk("making a folder"))?;
    let archive = File::open(archive).map_err(DeployError::disk("reading the archive"))?;
    archive::extract(&archive, files, links, &Limits::default())?;
    if matches!(origin, Origin::Package) && jsons.is_empty() {
        folder::unwrap(files).map_err(DeployError::disk("moving files"))?;
    }
    folder::add_jsons(files, jsons).map_err(DeployError::disk("writing a metacall file"))?;
    folder::metacall_jsons(files).map_err(|error| error.below(files))?;
    Ok(())
}
