//! Deploying what was taken in: its files, what it depends on, its workers beside those of the release before; then the
//! record on disk, then the registry. Until the record is written every failure leaves the old release serving.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::config::DeploymentConfig;
use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::packages::{FILES, blocking, is_wasm, unpack};
use crate::logs::book::LogBook;
use crate::registry::record::{Failure, Record, Release, Upload, Variables};
use crate::registry::{Serving, Stored};
use crate::source::env_file;
use crate::source::staging::Staging;
use crate::worker::outcome::LoadFailure;

/// A change of a deployment that is on its way. It goes to its end even if nobody waits for it.
pub struct Deploying {
    /// The deployment's log, where its steps are written.
    pub book: Arc<LogBook>,
    /// The number of the log's line from which on it is about this change.
    pub from: u64,
    /// What came of it.
    pub done: oneshot::Receiver<Result<Served, DeployError>>,
}

/// A release that serves.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its deployment.
    pub name: DeploymentName,
    /// Its number.
    pub release: u64,
}

/// What is to be deployed.
enum Order {
    /// What was taken in last, or the files that serve, with these variables.
    Create(Variables),
    /// A release that is kept; none: the one before.
    Rollback(Option<u64>),
}

impl Gateway {
    /// Deploys what was taken in under a name, with these variables in its environment; if nothing was since the last
    /// deploy, the files that serve get the variables.
    pub fn create(self: &Arc<Self>, name: &str, env: Variables) -> Result<Deploying, DeployError> {
        let unknown = || DeployError::UnknownId(name.to_owned());
        let record = self.store.record(name).filter(|record| record.upload.is_some() || record.live.is_some());
        let name = record.ok_or_else(unknown)?.name;
        self.order(name, Order::Create(env))
    }

    /// Makes a release that is kept the one that serves; without a number the one before.
    pub fn rollback(self: &Arc<Self>, name: &str, number: Option<u64>) -> Result<Deploying, DeployError> {
        self.check_of_api(name)?;
        let record = self.store.record(name).ok_or_else(|| DeployError::NotFound(name.to_owned()))?;
        find_release(&record, number)?;
        self.order(record.name, Order::Rollback(number))
    }

    /// Fails for deployments of the configuration.
    pub(super) fn check_of_api(&self, name: &str) -> Result<(), DeployError> {
        match self.registry.get(name) {
            Some(live) if live.stored.is_none() => Err(DeployError::OfConfiguration(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn order(self: &Arc<Self>, name: DeploymentName, order: Order) -> Result<Deploying, DeployError> {
        if self.is_draining() {
            return Err(DeployError::Stopping);
        }
        self.store.check_writable()?;
        self.check_of_api(name.as_str())?;
        let book = self.book(&name);
        let from = book.position();
        let (tell, done) = oneshot::channel();
        let (gateway, log) = (Arc::clone(self), Arc::clone(&book));
        self.tasks.spawn(async move {
            let carried_out = gateway.carry_out(&name, order, &log).await;
            if let Err(error) = &carried_out {
                tracing::warn!(deployment = %name, reason = %error, "not deployed");
                log.note(&format!("not deployed: {error}"));
            }
            let _nobody_waits = tell.send(carried_out);
        });
        Ok(Deploying { book, from, done })
    }

    async fn carry_out(
        self: &Arc<Self>,
        name: &DeploymentName,
        order: Order,
        book: &Arc<LogBook>,
    ) -> Result<Served, DeployError> {
        if self.turns.is_taken(name.as_str()) {
            book.note("waiting for another change of it");
        }
        let turn = self.turn(name).await?;
        self.check_of_api(name.as_str())?;
        let mut record =
            self.store.record(name.as_str()).ok_or_else(|| DeployError::UnknownId(name.as_str().to_owned()))?;
        match order {
            Order::Rollback(number) => {
                let release = find_release(&record, number)?;
                book.note(&format!("going back to release {}", release.number));
                self.serve_release(record, release, turn).await
            }
            Order::Create(env) => {
                let number = record.next;
                record.next += 1;
                book.note(&format!("deploying release {number}"));
                let placeholder = self.show_first(name, number);
                let served = match self.make_release(&record, number, env, &turn, book).await {
                    Ok(release) => {
                        record.upload = None;
                        self.serve_release(record, release, turn).await
                    }
                    Err(error) => Err(self.note_failure(name, number, error).await),
                };
                self.registry.remove_if(name.as_str(), placeholder);
                served
            }
        }
    }

    /// The release that is to serve next, with its files in place.
    async fn make_release(
        &self,
        record: &Record,
        number: u64,
        env: Variables,
        turn: &ChangeLock,
        book: &Arc<LogBook>,
    ) -> Result<Release, DeployError> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let Some(upload) = &record.upload else {
            let unknown = || DeployError::UnknownId(record.name.as_str().to_owned());
            let serving = record.live_release().ok_or_else(unknown)?;
            return Ok(Release { number, files: serving.files, origin: serving.origin.clone(), created, env });
        };
        let making = self.make_files(&record.name, upload, book);
        let staging = self.unless_given_up(turn, &record.name, making).await??;
        let (store, name) = (Arc::clone(&self.store), record.name.clone());
        // Not to be given up half-way: whoever has the turn next must find it done.
        blocking(move || Ok(store.take_files(&name, &staging.path().join(FILES), number)?)).await?;
        Ok(Release { number, files: number, origin: upload.origin.clone(), created, env })
    }

    /// The files of an upload with what they depend on, in a staging folder.
    async fn make_files(
        &self,
        name: &DeploymentName,
        upload: &Upload,
        book: &Arc<LogBook>,
    ) -> Result<Staging, DeployError> {
        let staging = self.make_staging().await?;
        let archive = self.store.archive(name, &upload.archive);
        let permit = Arc::clone(&self.unpacking).acquire_owned().await.map_err(|_| DeployError::Stopping)?;
        let unpacked = upload.clone();
        // The work goes on when nobody waits for it any more: permit and folder go with it.
        let staging = blocking(move || {
            let _permit = permit;
            unpack(&archive, &staging.path().join(FILES), &unpacked.origin, &unpacked.jsons)?;
            Ok(staging)
        });
        let staging = staging.await?;
        let (of, files) = (name.clone(), staging.path().join(FILES));
        if blocking(move || Ok(is_wasm(of, files))).await? {
            // Packages beside it are those of the tools that have built it.
            return Ok(staging);
        }
        let _permit = self.installing.acquire().await.map_err(|_| DeployError::Stopping)?;
        self.installer.install(&staging.path().join(FILES), upload.runners.as_deref(), book).await?;
        Ok(staging)
    }

    /// Loads a release beside the one that serves, writes it down and puts it in place.
    async fn serve_release(
        self: &Arc<Self>,
        record: Record,
        release: Release,
        turn: ChangeLock,
    ) -> Result<Served, DeployError> {
        let (name, number) = (record.name.clone(), release.number);
        let stored = Stored { release: number, origin: release.origin.kind() };
        let loading = async {
            let config = self.config_of(&name, &release).await?;
            self.load_beside(config, Some(stored)).await.map_err(|(live, failure)| {
                self.retire(&live, None);
                DeployError::Load(failure)
            })
        };
        let live = match self.unless_given_up(&turn, &name, loading).await.and_then(|loaded| loaded) {
            Ok(live) => live,
            Err(error) => return Err(self.note_failure(&name, number, error).await),
        };
        let (store, keep) = (Arc::clone(&self.store), self.deploy.keep as usize);
        let written = blocking(move || Ok(store.save(with_live(record, release, keep))?)).await;
        if let Err(error) = written {
            let error = self.note_failure(&name, number, error).await;
            self.retire(&live, Some(turn));
            return Err(error);
        }
        if let Some(old) = self.place(live) {
            // The next change waits until the old release is gone: there are never more than two.
            self.retire(&old, Some(turn));
        }
        tracing::info!(deployment = %name, release = number, "a new release serves");
        self.book(&name).note(&format!("release {number} serves"));
        Ok(Served { name, release: number })
    }

    /// The settings of a stored release: its files, its `.env`, the variables that it was deployed with.
    pub(super) async fn config_of(
        &self,
        name: &DeploymentName,
        release: &Release,
    ) -> Result<DeploymentConfig, DeployError> {
        let files = self.store.files(name, release.files);
        let mut config = self.deploy.deployment(name.clone(), files.clone());
        config.env = blocking(move || Ok(env_file::read(&files)?)).await?;
        config.env.extend(release.env.secrets());
        Ok(config)
    }

    /// Remembers a deploy that failed, for whoever asks how the deployment does; a release that serves goes on.
    async fn note_failure(self: &Arc<Self>, name: &DeploymentName, number: u64, error: DeployError) -> DeployError {
        let failure = error.as_load_failure();
        let (store, of, remembered) = (Arc::clone(&self.store), name.clone(), failure.clone());
        let noted = blocking(move || {
            let Some(mut record) = store.record(of.as_str()) else { return Ok(()) };
            record.next = record.next.max(number + 1);
            if let Some(failure) = &remembered {
                record.failure = Some(Failure::from(&**failure));
            }
            let saved = store.save(record);
            store.discard_files(&of, number);
            Ok(saved?)
        });
        if let Err(error) = noted.await {
            tracing::error!(deployment = %name, %error, "its failure was not written down");
        }
        let serves = self.registry.get(name.as_str()).is_some_and(|live| live.pool().is_some());
        if let (Some(failure), false) = (failure, serves) {
            self.place_refused(name, number, failure);
        }
        error
    }

    /// Shows a deployment that has no release that serves, with the reason.
    pub(super) fn place_refused(&self, name: &DeploymentName, number: u64, failure: Arc<LoadFailure>) {
        self.show(name, number, Serving::Refused(failure));
    }

    /// Shows a deployment that nobody could call before while it is made. Gives the number that tells it from others; none
    /// if there is something to show already.
    fn show_first(&self, name: &DeploymentName, number: u64) -> Option<u64> {
        let is_new = self.registry.get(name.as_str()).is_none();
        is_new.then(|| self.show(name, number, Serving::Waiting))
    }

    /// Shows a deployment that cannot be called. Gives the number that tells it from others.
    fn show(&self, name: &DeploymentName, number: u64, serving: Serving) -> u64 {
        let record = self.store.record(name.as_str());
        let origin = record.and_then(|record| record.upload).map_or("package", |upload| upload.origin.kind());
        let stored = Stored { release: number, origin };
        let live = self.live(DeploymentConfig::new(name.clone(), PathBuf::new()), Some(stored), serving);
        let sequence = live.sequence;
        self.place(live);
        sequence
    }

    /// Waits for a part of a deploy unless the gateway stops or the deployment is deleted.
    async fn unless_given_up<T>(
        &self,
        turn: &ChangeLock,
        name: &DeploymentName,
        work: impl Future<Output = T>,
    ) -> Result<T, DeployError> {
        tokio::select! {
            biased;
            () = turn.given_up.cancelled() => Err(DeployError::GivenUp(name.as_str().to_owned())),
            done = self.unless_draining(work) => done,
        }
    }

    /// Waits for something unless the gateway stops.
    pub(super) async fn unless_draining<T>(&self, work: impl Future<Output = T>) -> Result<T, DeployError> {
        tokio::select! {
            biased;
            () = self.drained() => Err(DeployError::Stopping),
            done = work => Ok(done),
        }
    }

    /// The turn to change a deployment.
    pub(super) async fn turn(&self, name: &DeploymentName) -> Result<ChangeLock, DeployError> {
        let taken = self.unless_draining(self.turns.take(name.as_str())).await?;
        taken.ok_or_else(|| DeployError::InProgress(name.as_str().to_owned()))
    }
}

fn find_release(record: &Record, number: Option<u64>) -> Result<Release, DeployError> {
    let before = || record.releases.iter().rev().find(|release| record.live.is_none_or(|live| release.number < live));
    let found = match number {
        Some(number) => record.release(number),
        None => before(),
    };
    let kept: Vec<String> = record.releases.iter().map(|release| release.number.to_string()).collect();
    found.cloned().ok_or_else(|| DeployError::NoRelease {
        name: record.name.as_str().to_owned(),
        wanted: number.map_or_else(|| "earlier release".to_owned(), |number| format!("release {number}")),
        kept: match kept.as_slice() {
            [] => "none is kept".to_owned(),
            kept => format!("kept are {}", kept.join(", ")),
        },
    })
}

/// The record once a release serves.
fn with_live(mut record: Record, release: Release, keep: usize) -> Record {
    record.live = Some(release.number);
    record.failure = None;
    if record.release(release.number).is_none() {
        record.releases.push(release);
    }
    record.forget_beyond(keep);
    record
}

impl From<&LoadFailure> for Failure {
    fn from(failure: &LoadFailure) -> Self {
        Self { code: failure.kind.code().to_owned(), message: failure.message.clone(), stderr: failure.stderr.clone() }
    }
}
