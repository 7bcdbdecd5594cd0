//! Bringing a deployment of the configuration into service: its files, its runtime, its workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::gateway::Gateway;
use crate::registry::{Live, Serving};
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::{self, Plan, RuntimeError};
use crate::source::{self, SourceError};
use crate::worker::logs::LogBook;
use crate::worker::outcome::{LoadFailure, LoadFailureKind};
use crate::worker::pool::Pool;
use crate::worker::settings::Settings;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Refusal {
    fn into_failure(self) -> LoadFailure {
        let kind = match self {
            Self::Runtime(RuntimeError::Program(_)) => LoadFailureKind::Spawn,
            Self::Runtime(_) | Self::Source(_) => LoadFailureKind::Load,
        };
        LoadFailure { kind, message: self.to_string(), stderr: String::new() }
    }
}

/// How a deployment's workers would be started. Reads its folder and looks its program up; starts no worker.
pub fn prepare(config: &DeploymentConfig, scripts: &WorkerScripts) -> Result<Plan, Refusal> {
    let jsons: Vec<MetaCallJson> = source::metacall_jsons(&config.path)?;
    let (kind, jsons) = runtime::choose(config, jsons)?;
    Ok(runtime::plan(config, kind, jsons, scripts)?)
}

impl Gateway {
    /// Puts a deployment of the configuration into the registry and starts its workers. Does not wait for them. What
    /// cannot be served is in the registry all the same, with the reason.
    pub async fn deploy_configured(&self, config: DeploymentConfig) {
        let name = config.name.clone();
        let logs = Arc::new(LogBook::new(name.clone(), self.log_files.clone()));
        let scripts = self.scripts.clone();
        let settings = Settings::from_config(&config);
        // It reads folders and may ask a version manager where a program is.
        let prepared = tokio::task::spawn_blocking(move || prepare(&config, &scripts)).await;
        let serving = match prepared {
            Ok(Ok(plan)) => {
                tracing::info!(deployment = %name, runtime = plan.kind.name(), folder = %plan.folder.display(), "starting");
                Serving::Pool(Pool::start(settings, plan, Arc::clone(&logs), Arc::clone(&self.spawner)))
            }
            Ok(Err(refusal)) => {
                tracing::error!(deployment = %name, reason = %refusal, "cannot be served");
                logs.note(&refusal.to_string());
                Serving::Refused(Arc::new(refusal.into_failure()))
            }
            Err(error) => Serving::Refused(Arc::new(LoadFailure {
                kind: LoadFailureKind::Load,
                message: format!("preparing {name:?} failed: {error}"),
                stderr: String::new(),
            })),
        };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.registry.put(Live { name, serving, logs, sequence });
    }
}
