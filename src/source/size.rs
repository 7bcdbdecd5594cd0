//! Limits the size of a folder while a program writes to it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// Runs `work`, but drops it and returns `None` once the folder that it writes to exceeds `limit` bytes. The folder is
/// measured every `pace`, and once more at the end.
pub(super) async fn within<T>(limit: u64, folder: &Path, pace: Duration, work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::select! {
        done = work => done,
        () = grown(limit, folder, pace) => return None,
    };
    (measured(folder).await <= limit).then_some(done)
}

async fn grown(limit: u64, folder: &Path, pace: Duration) {
    let mut ticks = tokio::time::interval(pace);
    // Measuring a large folder may take longer than `pace`.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if measured(folder).await > limit {
            return;
        }
    }
}

async fn measured(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || size(&folder)).await.unwrap_or(u64::MAX)
}

/// Bytes of all files below a folder. Files that disappear meanwhile count nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok().map(|meta| (entry, meta)));
    sizes.map(|(entry, meta)| if meta.is_dir() { size(&entry.path()) } else { meta.len() }).sum()
}
