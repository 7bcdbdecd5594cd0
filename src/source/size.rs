//! Keeps an eye on how large a folder grows while something is written to it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// Does some work, but gives it up as soon as the folder that it writes to holds more than `limit` bytes: then there is
/// nothing. The folder is looked at every `pace`, and at the end.
pub(super) async fn within<T>(limit: u64, folder: &Path, pace: Duration, work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::select! {
        done = work => done,
        () = grown(limit, folder, pace) => return None,
    };
    (measured(folder).await <= limit).then_some(done)
}

async fn grown(limit: u64, folder: &Path, pace: Duration) {
    let mut ticks = tokio::time::interval(pace);
    // A large folder takes long to look at.
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

/// Bytes of all files below a folder. What is gone meanwhile counts nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok().map(|meta| (entry, meta)));
    sizes.map(|(entry, meta)| if meta.is_dir() { size(&entry.path()) } else { meta.len() }).sum()
}
