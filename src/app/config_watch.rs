//! Watches the files of the configuration: metagate.toml, settings of plugins, and components. It watches folders
//! rather than files, because editors and deploy tools replace files by new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::config::Config;
use crate::gateway::reload_queue::ReloadSender;
use crate::gateway::reload_request::ReloadRequest;

/// Watches the folders of a configuration's files.
pub(super) struct ConfigWatch {
    /// `None` if the system refuses to watch.
    watcher: Option<RecommendedWatcher>,
    /// The watched folders with the identity that each had. inotify follows the folder, not the path: when another
    /// folder takes the path, the new folder has to be watched.
    folders: BTreeMap<PathBuf, Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl ConfigWatch {
    /// Requests a reload whenever a file of this configuration changes.
    pub(super) fn start(config: &Config, requests: ReloadSender) -> Self {
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event)) {
                requests.send(ReloadRequest::of_configuration("a file has changed"));
            }
        });
        let watcher = made.inspect_err(|error| {
            tracing::warn!(%error, "cannot watch files: send SIGHUP to reload the configuration");
        });
        let mut watch = Self { watcher: watcher.ok(), folders: BTreeMap::new() };
        watch.follow(config);
        watch
    }

    /// Watches the folders of this configuration and no others.
    pub(super) fn follow(&mut self, config: &Config) {
        let wanted = folders(config);
        let Some(watcher) = &mut self.watcher else { return };
        self.folders.retain(|folder, watched| {
            let stays = wanted.contains(folder) && identity(folder).ok() == Some(*watched);
            if !stays {
                let _removed_with_its_folder = watcher.unwatch(folder);
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
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "cannot watch folder"),
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
    is_write && event.paths.iter().any(|path| may_be_configuration(path))
}

/// Configurations and components; also folders and links, with which mounted volumes swap all files at once. Others do
/// not count: the gateway's own log may be one of them, to which each reload writes, or its UNIX socket.
fn may_be_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml" || extension == "wasm")
        || fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() || found.is_symlink())
}

fn folders(config: &Config) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| std::path::absolute(path).ok()?.parent().map(Path::to_owned);
    let files =
        std::iter::once(config.file.as_path()).chain(config.plugin_list.iter().map(|plugin| plugin.path.as_path()));
    files.filter_map(parent).chain(config.plugins.dir.clone()).collect()
}
