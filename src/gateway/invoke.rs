//! Calling a function of a deployment: what comes of it.

use std::time::Duration;

use crate::gateway::Gateway;
use crate::invocation::{Arguments, Returned};
use crate::registry::{Live, Serving};
use crate::worker::outcome::{CallError, LoadFailure, LoadFailureKind};

/// What is wrong stays wrong until somebody changes the folder or the machine.
const RETRY_REFUSED: Duration = Duration::from_secs(30);

impl Gateway {
    /// Calls a function of a deployment.
    pub async fn invoke(&self, live: &Live, function: &str, arguments: &Arguments) -> Result<Returned, CallError> {
        match &live.serving {
            Serving::Pool(pool) => pool.call(function, arguments).await,
            Serving::Refused(failure) => Err(refused(failure)),
        }
    }
}

fn refused(failure: &LoadFailure) -> CallError {
    match failure.kind {
        LoadFailureKind::Spawn => CallError::SpawnFailed(RETRY_REFUSED, failure.message.clone()),
        LoadFailureKind::Load | LoadFailureKind::Timeout | LoadFailureKind::Died => CallError::CrashLoop(RETRY_REFUSED),
    }
}
