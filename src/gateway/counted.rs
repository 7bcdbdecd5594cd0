//! Where a call is counted: those of clients and those of plugins in the same counters.

use std::sync::Arc;

use crate::metrics::calls::{DeploymentCalls, Ended, FunctionCalls};
use crate::registry::Deployment;

/// The counters of a call.
pub struct Counted {
    calls: Arc<DeploymentCalls>,
    function: Arc<FunctionCalls>,
}

impl Counted {
    /// Of a call of a deployment's function by this name; none where calls are not counted.
    #[must_use]
    pub fn of(deployment: &Deployment, function: &str) -> Option<Self> {
        let calls = deployment.calls.as_ref()?;
        let function = calls.function(function, || own_name(deployment, function));
        Some(Self { calls: Arc::clone(calls), function })
    }

    /// Of a call of something that nothing is deployed under.
    #[must_use]
    pub fn of_nothing(calls: &Arc<DeploymentCalls>, function: &str) -> Self {
        Self { calls: Arc::clone(calls), function: calls.function(function, || None) }
    }

    /// The function's own name, if there is such a function.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        Some(&*self.function.name).filter(|name| !name.is_empty())
    }

    /// Counts the call, which has ended.
    pub fn add(&self, ended: &Ended) {
        self.calls.add(&self.function, ended);
    }
}

/// The name of the function that a caller called by this one, if the release has it.
#[must_use]
pub fn own_name(deployment: &Deployment, called: &str) -> Option<Box<str>> {
    Some(deployment.pool()?.exports()?.function(called)?.name.clone())
}
