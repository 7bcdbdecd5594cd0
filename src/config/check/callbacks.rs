//! Rules about callbacks of asynchronous calls.

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::tables::config::Config;
use crate::config::values::callback_url::CallbackUrl;

/// The key of the origins that callbacks may go to.
const HTTP: &str = "async.callbacks.http";

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let callbacks = &config.async_calls.callbacks;
    if !callbacks.http.is_empty() && callbacks.secret.is_none() && !config.locations.has("async.callbacks.secret") {
        let message = "callbacks are signed: \"http\" needs \"secret\" in [async.callbacks], such as \
                       \"${env:CALLBACK_SECRET}\"";
        faults.push(Fault::new(config.locations.of(HTTP), message));
    }
    let mut check_url = |locations: &Locations, key: &str, url: &Option<CallbackUrl>| {
        let Some(url) = url.as_ref().filter(|url| !callbacks.permits(url)) else { return };
        let origin = url.get().origin().ascii_serialization();
        let message = format!("\"http\" in [async.callbacks] does not permit {origin:?}");
        faults.push(Fault::new(locations.of(key), message));
    };
    for deployment in &config.deployments {
        check_url(&deployment.locations, "async.callback", &deployment.async_calls.callback);
    }
    check_url(&config.locations, "deploy.async.callback", &config.deploy.async_calls.callback);
    for schedule in &config.schedules {
        check_url(&schedule.locations, "callback", &schedule.callback);
    }
}
