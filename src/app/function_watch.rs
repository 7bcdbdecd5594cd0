//! `serve --watch`: checks the files of the configuration's deployments, and requests a reload when they have changed.
//! It polls instead of waiting for events, because a folder may be replaced, mounted, or too large to watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::deployment::{DeploymentName, Fingerprint};
use crate::gateway::Gateway;
use crate::gateway::reload_queue::ReloadSender;
use crate::gateway::reload_request::ReloadRequest;
use crate::source::fingerprint;
use crate::supervise;

/// The time between two checks.
const INTERVAL: Duration = Duration::from_millis(400);

/// The name under which the task is supervised.
pub(super) const TASK: &str = "function-watch";

/// Requests a reload when files have changed and have then been the same for two checks, so that a half-written file is
/// not loaded. Ends when reloads end.
pub(super) async fn watch(gateway: Arc<Gateway>, requests: ReloadSender) {
    let mut last_seen: HashMap<DeploymentName, Fingerprint> = HashMap::new();
    let mut requested: HashMap<DeploymentName, Fingerprint> = HashMap::new();
    while !requests.is_closed() {
        tokio::time::sleep(INTERVAL).await;
        supervise::panic_point(TASK);
        let folders = gateway.loaded_folders();
        let checking = tokio::task::spawn_blocking(move || {
            let current = folders.into_iter().map(|(name, path, loaded)| (name, fingerprint::of_folder(&path), loaded));
            current.collect::<Vec<_>>()
        });
        let Ok(states) = checking.await else { return };
        let mut has_changed = false;
        for (name, current, loaded) in states {
            let is_settled = last_seen.insert(name.clone(), current) == Some(current);
            // A state that failed to load is not tried again: `loaded` stays different from it.
            if current != loaded && is_settled && requested.insert(name.clone(), current) != Some(current) {
                tracing::info!(deployment = %name, "files have changed");
                has_changed = true;
            }
        }
        if has_changed {
            requests.send(ReloadRequest::of_functions("files of functions have changed"));
        }
    }
}
