//! The plan of a deployment: how its workers would be started. Starts none.

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::{self, Plan, RuntimeError};
use crate::source::{self, SourceError};
use crate::worker::failure::{LoadFailure, LoadFailureKind};

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its files are unusable.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No runtime fits, or its program is missing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl From<PlanError> for LoadFailure {
    fn from(error: PlanError) -> Self {
        let kind = match error {
            PlanError::Runtime(RuntimeError::Program(_)) => LoadFailureKind::Spawn,
            PlanError::Runtime(_) | PlanError::Source(_) => LoadFailureKind::Load,
        };
        Self::new(kind, error.to_string())
    }
}

/// Plans the workers of a deployment: reads its folder, chooses the runtime and looks for its program. Blocks.
///
/// # Errors
///
/// The folder cannot be read, no runtime fits its files, or the runtime's program is missing.
pub fn plan_workers(config: &DeploymentConfig, scripts: &WorkerScripts) -> Result<Plan, PlanError> {
    let jsons: Vec<MetaCallJson> = source::metacall_jsons(&config.path)?;
    let (kind, jsons) = runtime::choose(config, jsons)?;
    Ok(runtime::plan(config, kind, jsons, scripts)?)
}
