//! Making a release: unpack its archive, install its dependencies, move its files into the store, and read its
//! settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::{Deployer, blocking};
use crate::gateway::packages::{FILES, unpack};
use crate::gateway::run_as;
use crate::logs::book::LogBook;
use crate::registry::record::{KeptPackage, Origin, Record, Release, Variables};
use crate::runtime;
use crate::source;
use crate::source::env_file;
use crate::source::staging::Staging;
use crate::traces::change;

/// An archive that becomes the files of a release.
pub(super) struct Archive {
    /// Its file.
    pub(super) file: PathBuf,
    /// Where it came from.
    pub(super) origin: Origin,
    /// Metacall files next to it.
    pub(super) jsons: Vec<MetaCallJson>,
    /// The runners whose dependencies are to be installed; none if the files decide.
    pub(super) runners: Option<Vec<String>>,
}

impl Deployer {
    /// Makes the release with this number: from the upload, or from the files of the current release with other
    /// variables.
    pub(super) async fn make_release(
        &self,
        record: &Record,
        number: u64,
        env: Variables,
        lock: &ChangeLock,
        log: &Arc<LogBook>,
    ) -> Result<Release, DeployError> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let Some(upload) = &record.upload else {
            let unknown = || DeployError::UnknownId(record.name.as_str().to_owned());
            let current = record.live_release().ok_or_else(unknown)?;
            return Ok(Release { number, created, env, ..current.clone() });
        };
        let file = match upload.sha256 {
            Some(sha256) => self.artefacts.fetch(&record.name, sha256).await?,
            None => self.store.archive(&record.name, &upload.archive),
        };
        let kept = upload.sha256.filter(|_| self.artefacts.keeps());
        let package =
            kept.map(|sha256| KeptPackage { sha256, jsons: upload.jsons.clone(), runners: upload.runners.clone() });
        let archive = Archive {
            file,
            origin: upload.origin.clone(),
            jsons: upload.jsons.clone(),
            runners: upload.runners.clone(),
        };
        let making = self.make_files(&record.name, archive, log);
        let staging = self.unless_given_up(lock, &record.name, making).await??;
        let (store, name) = (Arc::clone(&self.store), record.name.clone());
        // Not under `unless_given_up`: the move would continue in the background, and the next change of the name,
        // which then has the lock, could meet it half done.
        blocking(move || Ok(store.take_files(&name, &staging.path().join(FILES), number)?)).await?;
        Ok(Release { number, files: number, origin: upload.origin.clone(), created, env, package })
    }

    /// The files of an archive with their dependencies, in a staging folder.
    pub(super) async fn make_files(
        &self,
        name: &DeploymentName,
        archive: Archive,
        log: &Arc<LogBook>,
    ) -> Result<Staging, DeployError> {
        let staging = self.make_staging().await?;
        let Archive { file, origin, jsons, runners } = archive;
        let permit = Arc::clone(&self.unpacking).acquire_owned().await.map_err(|_| DeployError::Stopping)?;
        // A blocking task cannot be cancelled. It owns the permit and the folder, so both are held until it ends, even
        // if this deploy is given up.
        let unpacking = blocking(move || {
            let _permit = permit;
            unpack(&file, &staging.path().join(FILES), &origin, &jsons)?;
            Ok(staging)
        });
        let staging = change::step("unpack", unpacking).await?;
        let config = self.settings.deployment(name.clone(), staging.path().join(FILES));
        if blocking(move || Ok(is_wasm(&config))).await? {
            // A package.json next to a module belongs to the tools that built it.
            return Ok(staging);
        }
        let _permit = self.installing.acquire().await.map_err(|_| DeployError::Stopping)?;
        let (of, run_as, users) =
            (name.clone(), self.settings.run_as.clone(), Arc::clone(&self.gateway.launcher.users));
        let user = blocking(move || {
            run_as::user_of(&of, run_as.as_ref(), &users).map_err(DeployError::disk("choosing the user"))
        })
        .await?;
        let files = staging.path().join(FILES);
        let installing = self.tools.installer.install(name, user, &files, runners.as_deref(), log);
        change::step("dependencies", installing).await?;
        Ok(staging)
    }

    /// The settings of a stored release.
    pub(super) async fn config_of(
        &self,
        name: &DeploymentName,
        release: &Release,
    ) -> Result<DeploymentConfig, DeployError> {
        self.config_for(name, self.store.files(name, release.files), &release.env).await
    }

    /// The settings of a release with these files: `[deploy]`, its `.env`, and the variables that it is deployed with,
    /// which win over `.env`.
    pub(super) async fn config_for(
        &self,
        name: &DeploymentName,
        files: PathBuf,
        env: &Variables,
    ) -> Result<DeploymentConfig, DeployError> {
        let mut config = self.settings.deployment(name.clone(), files.clone());
        config.env = blocking(move || Ok(env_file::read(&files)?)).await?;
        config.env.extend(env.secrets());
        Ok(config)
    }
}

/// Whether a release's files are functions in WebAssembly, which need no dependencies. Blocks.
fn is_wasm(config: &DeploymentConfig) -> bool {
    let jsons = source::metacall_jsons(&config.path).unwrap_or_default();
    let chosen = runtime::choose(config, jsons);
    matches!(chosen, Ok((RuntimeKind::Wasm, _)))
}
