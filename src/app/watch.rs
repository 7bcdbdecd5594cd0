//! Which files make the configuration, and being told when they change. Folders are watched rather than files: editors
//! and deploy tools put new files in place of old ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::UnboundedSender;

use crate::config::Config;
use crate::gateway::reload::ReloadRequest;

/// Watches folders.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Which folder it was that is watched under its path: another may have taken its place.
    folders: BTreeMap<PathBuf, Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Watch {
    /// Watches what this configuration is made of, and asks for a reload when it changes.
    pub(super) fn start(config: &Config, ask: UnboundedSender<ReloadRequest>) -> Self {
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event)) {
                let _stopped = ask.send(ReloadRequest::of_configuration("a file has changed"));
            }
        });
        let watcher = made.inspect_err(|error| {
            tracing::warn!(%error, "files cannot be watched: SIGHUP reads the configuration again");
        });
        let mut watch = Self { watcher: watcher.ok(), folders: BTreeMap::new() };
        watch.follow(config);
        watch
    }

    /// Watches what this configuration is made of, and nothing else.
    pub(super) fn follow(&mut self, config: &Config) {
        let wanted = folders(config);
        let Some(watcher) = &mut self.watcher else { return };
        self.folders.retain(|folder, watched| {
            let stays = wanted.contains(folder) && identity(folder).ok() == Some(*watched);
            if !stays {
                let _gone = watcher.unwatch(folder);
            }
            stays
        });
        for folder in wanted {
            if self.folders.contains_key(&folder) {
                continue;
            }
            let watched = watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(anyhow::Error::from);
            match watched.and_then(|()| Ok(identity(&folder)?)) {
                Ok(identity) => drop(self.folders.insert(folder, identity)),
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "cannot be watched"),
            }
        }
    }
}

fn identity(folder: &Path) -> std::io::Result<Identity> {
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn is_change(event: &Event) -> bool {
    let is_write = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) => true,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    };
    is_write && event.paths.iter().any(|path| is_of_interest(path))
}

/// Configurations and components; folders and links, by which mounted volumes swap all at once. Not other files: one of
/// them may be the gateway's own log.
fn is_of_interest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml" || extension == "wasm")
        || fs::symlink_metadata(path).is_ok_and(|found| !found.is_file())
}

fn folders(config: &Config) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| std::path::absolute(path).ok()?.parent().map(Path::to_owned);
    let files =
        std::iter::once(config.file.as_path()).chain(config.plugin_list.iter().map(|plugin| plugin.path.as_path()));
    files.filter_map(parent).chain(config.plugins.dir.clone()).collect()
}
