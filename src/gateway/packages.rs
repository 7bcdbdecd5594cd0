//! Taking in what is to be deployed: a package or a repository is checked as a whole and kept until it is deployed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use ulid::Ulid;

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::gateway::Gateway;
use crate::gateway::deploy_error::DeployError;
use crate::registry::record::{Origin, Upload};
use crate::runtime;
use crate::source::archive::{self, Limits, Links};
use crate::source::staging::Staging;
use crate::source::{self, folder};

/// The folder of an archive's files in its staging folder.
pub(super) const FILES: &str = "files";

/// An archive that may become a release.
pub struct Package {
    /// The deployment that it is for.
    pub name: DeploymentName,
    /// The archive, in the staging folder.
    pub archive: PathBuf,
    /// The folder of its own.
    pub staging: Staging,
    /// Where it came from.
    pub origin: Origin,
    /// Metacall files that came beside it.
    pub jsons: Vec<MetaCallJson>,
    /// Whose dependencies are to be installed; by what its files say if it is not known.
    pub runners: Option<Vec<String>>,
    /// The right to have it on disk unpacked, given back once it was checked.
    pub slot: OwnedSemaphorePermit,
}

/// What to do about a deployment that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone.
    Keep,
    /// Make a new release of it when this one is deployed.
    Replace,
}

impl Gateway {
    /// Checks an archive and keeps it until it is deployed. A deployment that never served may always be replaced.
    pub async fn add_package(self: &Arc<Self>, package: Package, existing: Existing) -> Result<(), DeployError> {
        self.check_free(&package.name, existing)?;
        let package = self.unpack_to_check(package).await?;
        let gateway = Arc::clone(self);
        // Once it is being stored it is stored, whether the client waits or not.
        let stored = self.tasks.spawn(async move { gateway.keep_package(package, existing).await });
        stored.await.unwrap_or(Err(DeployError::Internal))
    }

    /// Fetches a branch of a repository and keeps it until it is deployed. Gives the name of its deployment.
    pub async fn add_repository(
        self: &Arc<Self>,
        url: &str,
        branch: Option<&str>,
        jsons: Vec<MetaCallJson>,
    ) -> Result<DeploymentName, DeployError> {
        let staging = self.make_staging().await?;
        let slot = self.fetch_slot()?;
        let fetching = self.repositories.fetch(url, branch, staging.path());
        let fetched = self.unless_draining(fetching).await??;
        let name = fetched.name;
        let origin = Origin::Repository { url: fetched.url, branch: fetched.branch, commit: fetched.commit };
        let archive = fetched.archive;
        let package = Package { name: name.clone(), archive, staging, origin, jsons, runners: None, slot };
        self.add_package(package, Existing::Replace).await?;
        Ok(name)
    }

    /// The branches of a repository.
    pub async fn branches(&self, url: &str) -> Result<Vec<String>, DeployError> {
        let _slot = self.fetch_slot()?;
        Ok(self.unless_draining(self.repositories.branches(url)).await??)
    }

    /// The files of a branch of a repository.
    pub async fn repository_files(&self, url: &str, branch: &str) -> Result<Vec<String>, DeployError> {
        let _slot = self.fetch_slot()?;
        let staging = self.make_staging().await?;
        Ok(self.unless_draining(self.repositories.files(url, branch, staging.path())).await??)
    }

    fn fetch_slot(&self) -> Result<OwnedSemaphorePermit, DeployError> {
        Arc::clone(&self.fetching).try_acquire_owned().map_err(|_| DeployError::Overloaded)
    }

    /// A staging folder, made off the thread that serves calls.
    pub async fn make_staging(&self) -> Result<Staging, DeployError> {
        self.store.check_writable()?;
        let area = self.staging.clone();
        blocking(move || area.make().map_err(DeployError::disk("making a folder"))).await
    }

    fn check_free(&self, name: &DeploymentName, existing: Existing) -> Result<(), DeployError> {
        let live = self.registry.get(name.as_str());
        let of_configuration = live.as_ref().is_some_and(|live| live.stored.is_none());
        let is_deployed = self.store.record(name.as_str()).is_some_and(|record| record.live.is_some());
        match existing {
            Existing::Keep if of_configuration || is_deployed => {
                Err(DeployError::AlreadyDeployed(name.as_str().to_owned()))
            }
            Existing::Replace if of_configuration => Err(DeployError::OfConfiguration(name.as_str().to_owned())),
            Existing::Keep | Existing::Replace => Ok(()),
        }
    }

    async fn unpack_to_check(&self, package: Package) -> Result<Package, DeployError> {
        let permit = Arc::clone(&self.unpacking).acquire_owned().await.map_err(|_| DeployError::Stopping)?;
        // The work goes on when nobody waits for it any more: the permits go with it.
        let checking = blocking(move || {
            let _permit = permit;
            let files = package.staging.path().join(FILES);
            unpack(&package.archive, &files, &package.origin, &package.jsons)?;
            // Its place is needed for the next one.
            let _gone_with_the_staging_folder = std::fs::remove_dir_all(&files);
            Ok(package)
        });
        self.unless_draining(checking).await?
    }

    async fn keep_package(self: Arc<Self>, package: Package, existing: Existing) -> Result<(), DeployError> {
        let Package { name, archive, staging, origin, jsons, runners, slot } = package;
        // The turn may take long to come: others may upload meanwhile.
        drop(slot);
        let _turn = self.turn(&name).await?;
        self.check_free(&name, existing)?;
        let store = Arc::clone(&self.store);
        blocking(move || {
            let _gone_at_the_end = staging;
            let kept = format!("{}.zip", Ulid::new());
            store.take_archive(&name, &archive, &kept)?;
            let mut record = store.record(name.as_str()).unwrap_or_else(|| store.new_record(&name));
            record.upload = Some(Upload { archive: kept, origin, jsons, runners });
            Ok(store.save(record)?)
        })
        .await
    }
}

/// Makes the files of a release out of its archive, in a folder that is made. Blocks.
pub(super) fn unpack(archive: &Path, files: &Path, origin: &Origin, jsons: &[MetaCallJson]) -> Result<(), DeployError> {
    let links = match origin {
        Origin::Package => Links::Refuse,
        Origin::Repository { .. } => Links::AsText,
    };
    std::fs::create_dir(files).map_err(DeployError::disk("making a folder"))?;
    let archive = File::open(archive).map_err(DeployError::disk("reading the archive"))?;
    archive::extract(&archive, files, links, &Limits::default())?;
    folder::add_jsons(files, jsons).map_err(DeployError::disk("writing a metacall file"))?;
    folder::metacall_jsons(files).map_err(|error| error.below(files))?;
    Ok(())
}

/// Does something that blocks, off the thread that serves calls.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeployError> + Send + 'static,
) -> Result<T, DeployError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(DeployError::Internal))
}

/// Whether a release's files are functions in WebAssembly, which need nothing installed.
pub(super) fn is_wasm(name: DeploymentName, files: PathBuf) -> bool {
    let jsons = source::metacall_jsons(&files).unwrap_or_default();
    let chosen = runtime::choose(&DeploymentConfig::new(name, files), jsons);
    matches!(chosen, Ok((RuntimeKind::Wasm, _)))
}
