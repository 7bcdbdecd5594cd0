//! What the configuration says about asynchronous calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{AsyncConfig, AsyncLimit, CallbackUrl, Config, DeploymentAsyncConfig, Rate, ScheduleConfig};
use crate::deployment::DeploymentName;
use crate::gateway::async_calls::callbacks::{Callbacks, OF_ORIGIN};
use crate::queue::progress::Policy;
use crate::queue::{Bounds, Callback, Kept, is_origin};

/// The rules of all deployments.
#[derive(Debug)]
pub struct Rules {
    all: AsyncConfig,
    /// Those of the deployments of the configuration.
    deployments: HashMap<DeploymentName, DeploymentAsyncConfig>,
    /// Those of deployments that come over the API.
    deployed: DeploymentAsyncConfig,
    /// The schedules.
    pub schedules: Vec<ScheduleConfig>,
    /// Where ends of calls may be reported.
    pub callbacks: Arc<Callbacks>,
}

/// The rules of one deployment.
#[derive(Debug, Clone, Copy)]
pub struct RulesOf {
    /// Whether callers may ask for asynchronous calls.
    pub enabled: bool,
    /// What decides about tries.
    pub policy: Policy,
    /// A call that has waited so long is dead.
    pub max_age: Duration,
    /// Calls that are tried at a time.
    pub concurrency: usize,
    /// Tries in a time.
    pub rate: Option<Rate>,
}

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let own = config.deployments.iter();
        Self {
            all: config.async_calls.clone(),
            deployments: own.map(|one| (one.name.clone(), one.async_calls.clone())).collect(),
            deployed: config.deploy.async_calls.clone(),
            schedules: config.schedules.clone(),
            callbacks: Arc::new(Callbacks::new(&config.async_calls.callbacks)),
        }
    }

    /// How much may be held.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { waiting: self.all.max_waiting.into(), bytes: self.all.max_bytes.bytes() }
    }

    /// Those of a deployment as texts, with the name of the table that may set them for it.
    #[must_use]
    pub fn described(&self, name: &str) -> (Vec<AsyncLimit>, &'static str) {
        match self.deployments.get(name) {
            Some(own) => (own.described(&self.all), "[deployment.async]"),
            None => (self.deployed.described(&self.all), "[deploy.async]"),
        }
    }

    /// Where the end of a call of a deployment is reported to, if it asks for this place or for none.
    #[must_use]
    pub fn callback(&self, deployment: &str, asked: Option<&CallbackUrl>) -> Option<Callback> {
        let own = || self.deployments.get(deployment).unwrap_or(&self.deployed).callback.as_ref();
        let url = asked.or_else(own)?;
        Some(Callback { url: url.to_string().into(), max_age: self.callbacks.max_age() })
    }

    /// Tries of a lane at a time, and in a time: the lanes of callbacks are origins, those of other calls deployments.
    #[must_use]
    pub(super) fn of_lane(&self, lane: &str) -> (usize, Option<Rate>) {
        if is_origin(lane) {
            return (OF_ORIGIN, None);
        }
        let RulesOf { concurrency, rate, .. } = self.of_deployment(lane);
        (concurrency, rate)
    }

    /// How long a call that is queued again may wait: callbacks have an age of their own.
    #[must_use]
    pub fn max_age_of(&self, call: &Kept) -> Duration {
        if call.reports.is_some() { self.callbacks.max_age() } else { self.of_deployment(&call.deployment).max_age }
    }

    /// Those of a deployment.
    #[must_use]
    pub fn of_deployment(&self, name: &str) -> RulesOf {
        let (all, own) = (&self.all, self.deployments.get(name).unwrap_or(&self.deployed));
        let policy = Policy {
            attempts: own.attempts.unwrap_or(all.attempts),
            backoff: own.backoff.unwrap_or(all.backoff).get(),
            max_backoff: own.max_backoff.unwrap_or(all.max_backoff).get(),
            keep: own.keep.unwrap_or(all.keep).get(),
            keep_dead: own.keep_dead.unwrap_or(all.keep_dead).get(),
        };
        RulesOf {
            enabled: own.enabled.unwrap_or(all.enabled),
            policy,
            max_age: own.max_age.unwrap_or(all.max_age).get(),
            concurrency: own.concurrency.unwrap_or(all.concurrency) as usize,
            rate: own.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::NewCall;

    #[test]
    fn a_callback_that_is_queued_again_has_the_age_of_callbacks() {
        let mut config = Config::default();
        config.async_calls.callbacks.max_age = "2s".parse().unwrap();
        let rules = Rules::of(&config);
        let call = NewCall::sample(1).kept();
        let callback = Kept { reports: Some(call.id), ..call.clone() };
        assert_eq!(rules.max_age_of(&callback), Duration::from_secs(2));
        assert_eq!(rules.max_age_of(&call), config.async_calls.max_age.get());
    }
}
