//! Deployments without a release in service: while the first release is made, and after it has failed.

use std::sync::Arc;

use crate::deployment::DeploymentName;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::{Deployer, blocking};
use crate::registry::record::Failure;
use crate::registry::{Definition, State, StoredRelease};
use crate::worker::failure::LoadFailure;

impl Deployer {
    /// Adds a deployment to the registry that cannot be called, while its first release is made. Returns its sequence
    /// number; none if there is a deployment of the name already.
    pub(super) fn add_pending_if_new(&self, name: &DeploymentName, number: u64) -> Option<u64> {
        let is_new = self.gateway.deployment(name.as_str()).is_none();
        is_new.then(|| self.add_unserved(name, number, State::Pending))
    }

    /// Puts a deployment into the registry that has no release in service, with the reason.
    pub(super) fn add_failed(&self, name: &DeploymentName, number: u64, failure: Arc<LoadFailure>) {
        self.add_unserved(name, number, State::Failed(failure));
    }

    fn add_unserved(&self, name: &DeploymentName, number: u64, state: State) -> u64 {
        let record = self.store.record(name.as_str());
        let origin = record.and_then(|record| record.upload).map_or("package", |upload| upload.origin.kind());
        let definition = Definition::Stored(StoredRelease { number, origin });
        let deployment = self.gateway.new_deployment(name, definition, self.settings.timeout.get(), state);
        let sequence = deployment.sequence;
        self.gateway.put_in_service(deployment);
        sequence
    }

    /// Records the failure of a deploy and gives the error back. If no release serves, the registry shows the failure;
    /// a release that serves stays in service.
    pub(super) async fn record_failure(&self, name: &DeploymentName, number: u64, error: DeployError) -> DeployError {
        let failure = error.as_load_failure();
        let (store, of, recorded) = (Arc::clone(&self.store), name.clone(), failure.clone());
        let saved = blocking(move || {
            let Some(mut record) = store.record(of.as_str()) else { return Ok(()) };
            // The number is used up: the log has lines about it.
            record.next = record.next.max(number + 1);
            if let Some(failure) = &recorded {
                record.failure = Some(Failure::from(&**failure));
            }
            let saved = store.save(record);
            store.discard_files(&of, number);
            Ok(saved?)
        });
        if let Err(error) = saved.await {
            tracing::error!(deployment = %name, %error, "recording a failed deploy failed");
        }
        let serves = self.gateway.deployment(name.as_str()).is_some_and(|deployment| deployment.pool().is_some());
        if let (Some(failure), false) = (failure, serves) {
            self.add_failed(name, number, failure);
        }
        error
    }
}

impl From<&LoadFailure> for Failure {
    fn from(failure: &LoadFailure) -> Self {
        Self { code: failure.kind.code().to_owned(), message: failure.message.clone(), stderr: failure.stderr.clone() }
    }
}
