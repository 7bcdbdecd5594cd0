//! Calling a function: from a name to what came of it.

use std::time::Duration;

use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::invocation::{Arguments, Returned};
use crate::registry::Serving;
use crate::worker::outcome::{CallError, LoadFailure, LoadFailureKind};

/// What is wrong stays wrong until somebody changes the folder or the machine.
const RETRY_REFUSED: Duration = Duration::from_secs(30);

/// Why a call gave no result.
#[derive(Debug)]
pub enum InvokeError {
    /// There is no deployment of this name.
    DeploymentNotFound,
    /// The call itself failed, on this deployment.
    Call(DeploymentName, CallError),
}

impl Gateway {
    /// Calls a function of a deployment.
    pub async fn invoke(&self, name: &str, function: &str, arguments: &Arguments) -> Result<Returned, InvokeError> {
        let live = self.registry.get(name).ok_or(InvokeError::DeploymentNotFound)?;
        match &live.serving {
            Serving::Pool(pool) => {
                pool.call(function, arguments).await.map_err(|error| InvokeError::Call(live.name.clone(), error))
            }
            Serving::Refused(failure) => Err(InvokeError::Call(live.name.clone(), refused(failure))),
        }
    }
}

fn refused(failure: &LoadFailure) -> CallError {
    match failure.kind {
        LoadFailureKind::Spawn => CallError::SpawnFailed(RETRY_REFUSED, failure.message.clone()),
        LoadFailureKind::Load | LoadFailureKind::Timeout | LoadFailureKind::Died => CallError::CrashLoop(RETRY_REFUSED),
    }
}
