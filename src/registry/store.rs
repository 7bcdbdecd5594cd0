//! The durable half of the registry: records and files of deployments that were made over HTTP.
//! `<data_dir>/deployments/<name>/` has `record` and the generation before it, `record.previous`; `files/<release>/`,
//! the files of releases; `uploads/`, archives that have not been deployed yet. Only files that a record names count: a
//! folder is complete before a record names it, and is removed after no record names it any more. A kill at any moment
//! therefore leaves the state before a change or the state after it. Files that no record names are removed at the next
//! start, by `open`.

pub mod backup;
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
    /// Where files of deployments without a readable record are kept.
    damaged: PathBuf,
    /// Where runtimes keep compiled code, by the paths of its sources.
    caches: Vec<PathBuf>,
    records: Mutex<BTreeMap<DeploymentName, Record>>,
    /// Deployments whose newest record may or may not be on disk: syncing its folder failed.
    unsettled: Mutex<BTreeSet<DeploymentName>>,
    /// Why the store is read-only, if it is.
    read_only: Mutex<Option<String>>,
    /// Whether it was read-only from the start. That is a choice of the operator and no fault.
    opened_read_only: bool,
    /// Why changes are held back for a while, if they are.
    held: Mutex<Option<Hold>>,
    faults: Vec<String>,
}

/// Changes that are held back while another gateway takes the data folder over.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Why, for those who want to change something.
    pub reason: &'static str,
    /// Whether changes that have begun may still be stored.
    pub lets_finish: bool,
}

/// Why a change was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store is read-only.
    #[error("the data folder is read-only: {0}")]
    ReadOnly(String),
    /// Changes are held back for a while.
    #[error("{0}")]
    Held(&'static str),
    /// The disk failed.
    #[error("{act}: {cause}")]
    Disk {
        /// The operation: "writing the record".
        act: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

impl StorageError {
    /// Whether the disk is full. An operation that needs no space may still succeed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
        matches!(self, Self::Disk { cause, .. } if cause.raw_os_error().is_some_and(|code| full.contains(&code)))
    }
}

impl Store {
    /// What the operator has to look at: records that were damaged when the store was opened, a disk that has failed
    /// since.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let failed = self.read_only().filter(|_| !self.opened_read_only);
        self.faults.iter().cloned().chain(failed).collect()
    }

    /// Why the store is read-only, if it is.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.read_only.lock().clone()
    }

    /// Holds changes back, or no more.
    pub fn hold(&self, hold: Option<Hold>) {
        *self.held.lock() = hold;
    }

    /// Why changes are held back, if they are.
    #[must_use]
    pub fn held(&self) -> Option<&'static str> {
        self.held.lock().as_ref().map(|hold| hold.reason)
    }

    /// Fails if the store is read-only, or changes are held back.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        self.read_only().map_or(Ok(()), |why| Err(StorageError::ReadOnly(why)))?;
        self.held().map_or(Ok(()), |reason| Err(StorageError::Held(reason)))
    }

    /// The record of a deployment, unless it is being deleted.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Record> {
        self.records.lock().get(name).filter(|record| !record.deleted).cloned()
    }

    /// All records in the order of their names, except those that are being deleted.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().values().filter(|record| !record.deleted).cloned().collect()
    }

    /// A new record for a name without one. Release numbers start above those of all folders: a delete may have left
    /// some.
    #[must_use]
    pub fn new_record(&self, name: &DeploymentName) -> Record {
        let taken = numbers(&self.folder(name).join("files"));
        Record::new(name.clone(), taken.last().map_or(1, |last| last + 1))
    }

    /// The data folder that the store is in.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// The folder with the files of a release.
    #[must_use]
    pub fn files(&self, name: &DeploymentName, release: u64) -> PathBuf {
        self.folder(name).join("files").join(release.to_string())
    }

    /// The path of an uploaded archive.
    #[must_use]
    pub fn archive(&self, name: &DeploymentName, archive: &str) -> PathBuf {
        self.folder(name).join("uploads").join(archive)
    }

    /// Moves an archive from a staging folder into the store. It counts once a record names it. Blocks.
    pub fn take_archive(&self, name: &DeploymentName, from: &Path, archive: &str) -> Result<(), StorageError> {
        self.write("storing the package", || {
            self.make_folders(name, "uploads")?;
            File::open(from)?.sync_all()?;
            durable::move_to(from, &self.archive(name, archive))
        })
    }

    /// Moves the files of a release from a staging folder into the store. They count once a record names them. Blocks.
    pub fn take_files(&self, name: &DeploymentName, from: &Path, release: u64) -> Result<(), StorageError> {
        self.write("storing the release", || {
            self.make_folders(name, "files")?;
            durable::sync_tree(from)?;
            durable::move_to(from, &self.files(name, release))
        })
    }

    /// Writes a record, then removes the files that neither it nor the generation before it names. Blocks.
    pub fn save(&self, record: Record) -> Result<(), StorageError> {
        let folder = self.folder(&record.name);
        self.write("writing the record", || {
            self.make_folders(&record.name, "")?;
            durable::replace(&folder.join("record"), &folder.join("record.previous"), &record.encode())
        })?;
        if let Err(error) = self.write("writing the record", || durable::sync_folder(&folder)) {
            // After a power cut either record may be on disk, so the files of both are kept.
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

    /// Removes the files of a release, unless a record names them. Blocks.
    pub fn discard_files(&self, name: &DeploymentName, release: u64) {
        let is_named = self.record(name.as_str()).is_some_and(|record| record.folders().contains(&release));
        if !is_named && !self.unsettled.lock().contains(name) {
            remove_tree(&self.files(name, release));
        }
    }

    /// Removes a deployment: its folder is renamed to `waste`, which takes effect at once, and then removed there.
    /// Blocks.
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
        self.caches.iter().for_each(|cache| remove_tree(&cache.join(name.as_str())));
    }

    /// Removes the code that runtimes have compiled from files below a folder of a deployment. They keep it by path.
    fn remove_compiled(&self, name: &DeploymentName, folder: &Path) {
        let path = folder.strip_prefix("/").unwrap_or(folder);
        self.caches.iter().for_each(|cache| remove_tree(&cache.join(name.as_str()).join(path)));
    }

    /// Removes the files that neither a record nor the generation before it names.
    fn sweep(&self, folder: &Path, record: &Record) {
        let previous = fs::read(folder.join("record.previous")).ok().and_then(|text| Record::decode(&text).ok());
        let both = || std::iter::once(record).chain(&previous);
        let folders: BTreeSet<u64> = both().flat_map(Record::folders).collect();
        let archives: BTreeSet<String> = both().flat_map(Record::archives).collect();
        for number in numbers(&folder.join("files")).difference(&folders) {
            let files = folder.join("files").join(number.to_string());
            remove_tree(&files);
            self.remove_compiled(&record.name, &files);
        }
        for entry in fs::read_dir(folder.join("uploads")).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| archives.contains(name)) {
                let _next_sweep_retries = fs::remove_file(entry.path());
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

    /// Runs an operation on the disk. After an I/O error the disk's content is unknown, so the store becomes read-only
    /// until the gateway is restarted. Other errors, such as a full disk, may pass.
    fn write(&self, act: &'static str, step: impl FnOnce() -> io::Result<()>) -> Result<(), StorageError> {
        let lets_finish = self.held.lock().as_ref().is_some_and(|hold| hold.lets_finish);
        if !lets_finish || self.read_only().is_some() {
            self.check_writable()?;
        }
        step().map_err(|cause| {
            if cause.raw_os_error() == Some(Errno::IO.raw_os_error()) {
                let why = format!("{act} failed ({cause}); restart the gateway after the disk is repaired");
                tracing::error!(%why, "data folder is read-only from now on");
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
        tracing::warn!(path = %folder.display(), %error, "removing a folder failed: the next start retries");
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
        Store::open(data, vec![data.join("caches")], None).unwrap()
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
        record.releases.push(Release { number, files: number, origin, created: 0, env, package: None });
        record.live = Some(number);
        record.next += 1;
        record.forget_beyond(2);
        store.save(record).unwrap();
        number
    }

    /// Marks the deployment as being deleted, the first step of a delete.
    fn mark_deleted(store: &Store) {
        let mut record = store.record("math").unwrap();
        record.deleted = true;
        store.save(record).unwrap();
    }

    #[test]
    fn an_opened_store_has_the_records_and_files_of_the_last_one() {
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
        // Two are kept, and a third that the previous generation names.
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
    fn without_a_good_generation_the_files_are_kept_and_reported_at_every_start() {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        add_release(&store, data.path());
        fs::write(data.path().join("deployments/math/record"), "nonsense").unwrap();
        for _ in 0..3 {
            let store = open(data.path());
            assert!(store.record("math").is_none());
            assert!(store.faults().iter().any(|fault| fault.contains("are kept in")), "{:?}", store.faults());
            let kept: Vec<_> = fs::read_dir(data.path().join("damaged")).unwrap().flatten().collect();
            assert_eq!(kept.len(), 1);
            assert!(kept[0].path().join("files/1/index.js").is_file());
        }
        // The name is free again.
        assert_eq!(add_release(&open(data.path()), data.path()), 1);
    }

    #[test]
    fn stray_files_and_unreadable_records_do_not_affect_other_deployments() {
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
    fn an_interrupted_delete_is_finished() {
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
        assert!(matches!(Store::open(data.path(), Vec::new(), None), Err(OpenError::Newer { .. })));
    }

    #[test]
    fn a_read_only_store_refuses_changes() {
        let data = tempfile::tempdir().unwrap();
        drop(open(data.path()));
        let store = Store::open(data.path(), Vec::new(), Some("it is mounted read-only".to_owned())).unwrap();
        let record = store.new_record(&name());
        assert!(matches!(store.save(record), Err(StorageError::ReadOnly(_))));
    }
}
