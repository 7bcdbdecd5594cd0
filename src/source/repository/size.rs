//! Keeps an eye on how large a folder grows while something is written to it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::source::repository::RepositoryError;

const PACE: Duration = Duration::from_millis(200);

/// Does some work, but gives it up as soon as the folder that it writes to holds more than `limit` bytes.
pub(super) async fn within<T>(
    limit: u64,
    folder: &Path,
    work: impl Future<Output = Result<T, RepositoryError>>,
) -> Result<T, RepositoryError> {
    let done = tokio::select! {
        done = work => done?,
        () = grown(limit, folder) => return Err(RepositoryError::TooLarge { limit }),
    };
    if measured(folder).await > limit { Err(RepositoryError::TooLarge { limit }) } else { Ok(done) }
}

async fn grown(limit: u64, folder: &Path) {
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
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
