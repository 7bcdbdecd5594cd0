//! The durable half of the registry: records and files of deployments that were made over HTTP.
//!
//! `<data_dir>/deployments/<name>/` holds `record` and the generation before it, `record.previous`; `files/<release>/`,
//! the folders of releases; `uploads/`, archives that wait to be deployed. What the record does not name does not
//! count: folders are made whole before the record names them and removed after it has ceased to. So a kill at any
//! point leaves the state before or after, and whatever lies about besides is swept at the next start, as `open` has
//! it.

pub mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::deployment::DeploymentName;
use crate::registry::durable;
use crate::registry::record::Record;

/// Records and files on disk. One gateway uses a data folder at a time.
pub struct Store {
    root: PathBuf,
    /// What is left of deployments without a record.
    damaged: PathBuf,
    caches: PathBuf,
    records: Mutex<BTreeMap<DeploymentName, Record>>,
    /// Deployments whose last record may or may not be the one that the disk has.
    unsettled: Mutex<BTreeSet<DeploymentName>>,
    /// Why nothing is written any more, once that is so.
    read_only: Mutex<Option<String>>,
    /// It was so from the start: that is how somebody has set it up.
    opened_read_only: bool,
    faults: Vec<String>,
}

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nothing is written any more, or never was.
    #[error("the data folder takes no changes: {0}")]
    ReadOnly(String),
    /// The disk did not take it.
    #[error("{act}: {cause}")]
    Disk {
        /// What was being done.
        act: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

impl StorageError {
    /// Whether there is no room: what needs none may go well all the same.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
        matches!(self, Self::Disk { cause, .. } if cause.raw_os_error().is_some_and(|code| full.contains(&code)))
    }
}

impl Store {
    /// What somebody has to look at: records that were damaged when the folder was opened, a disk that has failed
    /// since.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let failed = self.read_only().filter(|_| !self.opened_read_only);
        self.faults.iter().cloned().chain(failed).collect()
    }

    /// Why nothing is written, if so.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.read_only.lock().clone()
    }

    /// Fails where nothing is written.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        self.read_only().map_or(Ok(()), |why| Err(StorageError::ReadOnly(why)))
    }

    /// What is remembered of a deployment, unless it is being deleted.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Record> {
        self.records.lock().get(name).filter(|record| !record.deleted).cloned()
    }

    /// Every record, in the order of their names.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().values().filter(|record| !record.deleted).cloned().collect()
    }

    /// The record of a name that has none yet. Its first release gets a number that no folder has.
    #[must_use]
    pub fn new_record(&self, name: &DeploymentName) -> Record {
        let taken = numbers(&self.folder(name).join("files"));
        Record::new(name.clone(), taken.last().map_or(1, |last| last + 1))
    }

    /// The folder of a release's files.
    #[must_use]
    pub fn files(&self, name: &DeploymentName, release: u64) -> PathBuf {
        self.folder(name).join("files").join(release.to_string())
    }

    /// An archive that waits to be deployed.
    #[must_use]
    pub fn archive(&self, name: &DeploymentName, archive: &str) -> PathBuf {
        self.folder(name).join("uploads").join(archive)
    }

    /// Takes over an archive from a staging folder. It counts once a record names it. Blocks.
    pub fn take_archive(&self, name: &DeploymentName, from: &Path, archive: &str) -> Result<(), StorageError> {
        self.write("storing the package", || {
            self.make_folders(name, "uploads")?;
            File::open(from)?.sync_all()?;
            durable::move_to(from, &self.archive(name, archive))
        })
    }

    /// Takes over a release's folder from a staging folder. It counts once a record names it. Blocks.
    pub fn take_files(&self, name: &DeploymentName, from: &Path, release: u64) -> Result<(), StorageError> {
        self.write("storing the release", || {
            self.make_folders(name, "files")?;
            durable::sync_tree(from)?;
            durable::move_to(from, &self.files(name, release))
        })
    }

    /// Makes a record the one that counts, and removes what it and the one before it no longer name. Blocks.
    pub fn save(&self, record: Record) -> Result<(), StorageError> {
        let folder = self.folder(&record.name);
        self.write("writing the record", || {
            self.make_folders(&record.name, "")?;
            durable::replace(&folder.join("record"), &folder.join("record.previous"), &record.encode())
        })?;
        if let Err(error) = self.write("writing the record", || durable::sync_folder(&folder)) {
            // Nobody knows which of the two records the disk has: both must stay true.
            self.unsettled.lock().insert(record.name.clone());
            return Err(error);
        }
        self.unsettled.lock().remove(&record.name);
        if !record.deleted {
            self.sweep(&folder, &record);
        }
        self.records.lock().insert(record.name.clone(), record);
        Ok(())
    }

    /// Removes a release's folder that no record names. Blocks.
    pub fn discard_files(&self, name: &DeploymentName, release: u64) {
        let is_named = self.record(name.as_str()).is_some_and(|record| record.folders().contains(&release));
        if !is_named && !self.unsettled.lock().contains(name) {
            remove_tree(&self.files(name, release));
        }
    }

    /// Takes a deployment away: moves its folder to `waste`, and removes it there as far as that can be done. Blocks.
    pub fn remove(&self, name: &DeploymentName, waste: &Path) -> Result<(), StorageError> {
        self.write("removing the files", || {
            durable::move_to(&self.folder(name), waste)?;
            durable::sync_folder(&self.root)
        })?;
        self.records.lock().remove(name);
        self.remove_all(name, waste);
        Ok(())
    }

    fn remove_all(&self, name: &DeploymentName, folder: &Path) {
        remove_tree(folder);
        remove_tree(&self.cache_of(&self.folder(name)));
    }

    /// Where runtimes keep what they have compiled of files below a folder.
    fn cache_of(&self, folder: &Path) -> PathBuf {
        self.caches.join(folder.strip_prefix("/").unwrap_or(folder))
    }

    /// Removes what neither a record nor the generation before it names.
    fn sweep(&self, folder: &Path, record: &Record) {
        let previous = fs::read(folder.join("record.previous")).ok().and_then(|text| Record::decode(&text).ok());
        let both = || std::iter::once(record).chain(&previous);
        let folders: BTreeSet<u64> = both().flat_map(Record::folders).collect();
        let archives: BTreeSet<&str> = both().filter_map(|one| Some(one.upload.as_ref()?.archive.as_str())).collect();
        for number in numbers(&folder.join("files")).difference(&folders) {
            let files = folder.join("files").join(number.to_string());
            remove_tree(&files);
            remove_tree(&self.cache_of(&files));
        }
        for entry in fs::read_dir(folder.join("uploads")).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| archives.contains(name)) {
                let _tried_again_later = fs::remove_file(entry.path());
            }
        }
    }

    fn folder(&self, name: &DeploymentName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn make_folders(&self, name: &DeploymentName, inner: &str) -> io::Result<()> {
        let folder = self.folder(name);
        durable::make_folder(&folder)?;
        if inner.is_empty() { Ok(()) } else { durable::make_folder(&folder.join(inner)) }
    }

    /// Does something on disk. When the disk itself fails nobody knows what it has kept: nothing more is written until
    /// somebody has looked. What fails otherwise, for want of space for example, may go well later.
    fn write(&self, act: &'static str, step: impl FnOnce() -> io::Result<()>) -> Result<(), StorageError> {
        self.check_writable()?;
        step().map_err(|cause| {
            if cause.raw_os_error() == Some(Errno::IO.raw_os_error()) {
                let why = format!("{act} failed ({cause}); restart the gateway when the disk is sound");
                tracing::error!(%why, "the data folder takes no more changes");
                *self.read_only.lock() = Some(why);
            }
            StorageError::Disk { act, cause }
        })
    }
}

fn numbers(folder: &Path) -> BTreeSet<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn remove_tree(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %folder.display(), %error, "cannot be removed: the next start tries again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::record::{Origin, Release, Variables};
    use crate::registry::store::open::OpenError;

    fn name() -> DeploymentName {
        DeploymentName::new("math").unwrap()
    }

    fn open(data: &Path) -> Store {
        Store::open(data, data.join("caches"), None).unwrap()
    }

    /// Stores one more release, as a deploy does.
    fn add_release(store: &Store, data: &Path) -> u64 {
        let mut record = store.record("math").unwrap_or_else(|| store.new_record(&name()));
        let number = record.next;
        let made = data.join("made");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("index.js"), number.to_string()).unwrap();
        store.take_files(&name(), &made, number).unwrap();
        let (origin, env) = (Origin::Package, Variables::default());
        record.releases.push(Release { number, files: number, origin, created: 0, env });
        record.live = Some(number);
        record.next += 1;
        record.forget_beyond(2);
        store.save(record).unwrap();
        number
    }

    /// Writes down that the deployment is being deleted, as a delete does first.
    fn mark_deleted(store: &Store) {
        let mut record = store.record("math").unwrap();
        record.deleted = true;
        store.save(record).unwrap();
    }

    #[test]
    fn what_was_stored_is_there_when_it_is_opened_again() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        for _ in 0..4 {
            add_release(&store, data.path());
        }
        drop(store);
        let store = open(data.path());
        let record = store.record("math").unwrap();
        assert_eq!(record.live, Some(4));
        assert_eq!(fs::read_to_string(store.files(&name(), 4).join("index.js")).unwrap(), "4");
        // Two are kept, and one more that the generation before names.
        assert_eq!(numbers(&data.path().join("deployments/math/files")), BTreeSet::from([2, 3, 4]));
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_one_before_counts() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        add_release(&store, data.path());
        let path = data.path().join("deployments/math/record");
        fs::write(&path, "metagate-record 1 0\n{}\n").unwrap();
        for _ in 0..2 {
            let store = open(data.path());
            assert_eq!(store.record("math").unwrap().live, Some(1));
        }
        let aside = fs::read_dir(path.parent().unwrap()).unwrap().flatten();
        assert_eq!(aside.filter(|entry| entry.file_name().to_str().unwrap().contains("corrupt-")).count(), 1);
    }

    #[test]
    fn without_a_good_generation_the_files_are_kept_and_told_at_every_start() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        fs::write(data.path().join("deployments/math/record"), "nonsense").unwrap();
        for _ in 0..3 {
            let store = open(data.path());
            assert!(store.record("math").is_none());
            assert!(store.faults().iter().any(|fault| fault.contains("is kept in")), "{:?}", store.faults());
            let kept: Vec<_> = fs::read_dir(data.path().join("damaged")).unwrap().flatten().collect();
            assert_eq!(kept.len(), 1);
            assert!(kept[0].path().join("files/1/index.js").is_file());
        }
        // The name is free again.
        assert_eq!(add_release(&open(data.path()), data.path()), 1);
    }

    #[test]
    fn what_is_no_deployment_or_cannot_be_read_keeps_nothing_else_from_being_served() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        fs::write(data.path().join("deployments/stray"), "").unwrap();
        fs::create_dir_all(data.path().join("deployments/odd/record")).unwrap();
        let store = open(data.path());
        assert!(store.record("math").is_some());
        assert!(store.faults().iter().any(|fault| fault.contains("odd")), "{:?}", store.faults());
    }

    #[test]
    fn a_name_can_be_used_again_after_a_delete_whose_files_could_not_be_removed() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        mark_deleted(&store);
        // Its folder is still there.
        assert!(store.record("math").is_none());
        add_release(&store, data.path());
        assert_eq!(open(data.path()).record("math").unwrap().live, Some(2));
    }

    #[test]
    fn a_delete_that_was_cut_short_is_finished() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        mark_deleted(&store);
        let store = open(data.path());
        assert!(store.record("math").is_none());
        assert!(!data.path().join("deployments/math").exists());
    }

    #[test]
    fn a_later_format_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        fs::write(data.path().join("deployments/math/record"), "metagate-record 9 x\n{}\n").unwrap();
        assert!(matches!(Store::open(data.path(), PathBuf::new(), None), Err(OpenError::Newer { .. })));
    }

    #[test]
    fn nothing_is_written_where_nothing_may_be() {
        let data = tempfile::tempdir().unwrap();
        drop(open(data.path()));
        let store = Store::open(data.path(), PathBuf::new(), Some("it is mounted read-only".to_owned())).unwrap();
        let record = store.new_record(&name());
        assert!(matches!(store.save(record), Err(StorageError::ReadOnly(_))));
    }
}
