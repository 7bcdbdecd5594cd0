//! `serve --watch`: looks at the files of the configuration's deployments, and has those that have changed deployed again.
//! It looks every now and then instead of waiting for events: a folder may be replaced, mounted, or too large to watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::deployment::{DeploymentName, Fingerprint};
use crate::gateway::Gateway;
use crate::gateway::reload::ReloadRequest;
use crate::source::fingerprint;

const INTERVAL: Duration = Duration::from_millis(400);

/// Asks for a reload whenever files have changed and then stayed as they are for a moment, so that a file that is half
/// written is not loaded. Ends when nobody reloads any more.
pub(super) async fn watch(gateway: Arc<Gateway>, ask: UnboundedSender<ReloadRequest>) {
    let mut seen: HashMap<DeploymentName, Fingerprint> = HashMap::new();
    let mut tried: HashMap<DeploymentName, Fingerprint> = HashMap::new();
    while !ask.is_closed() {
        tokio::time::sleep(INTERVAL).await;
        let folders = gateway.folders();
        let looking = tokio::task::spawn_blocking(move || {
            let look = folders.into_iter().map(|(name, path, loaded)| (name, fingerprint::of_folder(&path), loaded));
            look.collect::<Vec<_>>()
        });
        let Ok(states) = looking.await else { return };
        let mut changed = false;
        for (name, now, loaded) in states {
            let is_settled = seen.insert(name.clone(), now) == Some(now);
            // What failed to load is not tried again until it changes again.
            if now != loaded && is_settled && tried.insert(name.clone(), now) != Some(now) {
                tracing::info!(deployment = %name, "its files have changed");
                changed = true;
            }
        }
        if changed && ask.send(ReloadRequest::of_functions("files of functions have changed")).is_err() {
            return;
        }
    }
}
