//! Calling a function: from a name to what came of it.

use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::invocation::{Arguments, Returned};
use crate::registry::Serving;
use crate::worker::outcome::CallError;

/// Why a call gave no result.
#[derive(Debug)]
pub enum InvokeError {
    /// There is no deployment of this name.
    DeploymentNotFound,
    /// The deployment's files or runtime cannot be used.
    Refused(DeploymentName),
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
            Serving::Refused(_) => Err(InvokeError::Refused(live.name.clone())),
        }
    }
}
