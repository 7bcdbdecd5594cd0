//! The durable half of the registry: records and files of deployments that were made over HTTP.
//!
//! `<data_dir>/deployments/<name>/` holds `record` and the generation before it, `record.previous`; `files/<release>/`, the folders
//! of releases; `uploads/`, archives that wait to be deployed. What the record does not name does not count: folders are
//! made whole before the record names them and removed after it has ceased to. So a kill at any point leaves the state before
//! or after, and whatever lies about besides is swept at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::deployment::DeploymentName;
use crate::registry::durable;
use crate::registry::record::{BadRecord, Record};

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

/// A deployment's folder as it was found.
struct Found {
    name: DeploymentName,
    folder: PathBuf,
    /// The record and the one before it.
    generations: [(PathBuf, Read); 2],
}

impl Found {
    fn read(name: DeploymentName, folder: PathBuf) -> Result<Self, OpenError> {
        let read = |file| {
            let path = folder.join(file);
            read_record(&path, &name).map(|read| (path, read))
        };
        let generations = [read("record")?, read("record.previous")?];
        Ok(Self { name, folder, generations })
    }
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

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later gateway wrote it.
    #[error("{path}: {cause}")]
    Newer {
        /// The record.
        path: String,
        /// Which format it has.
        cause: BadRecord,
    },
    /// It cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The folder or record.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

impl Store {
    /// Reads what is below a data folder. Records that are damaged are set aside as `record.corrupt-<seconds>`, and the
    /// generation before them counts; a deployment without any good one is moved to `<data_dir>/damaged`. Deletes that were
    /// cut short are finished, and what no record names is removed. `read_only` says why the folder cannot be written, if
    /// so; `caches` is where runtimes keep what they have compiled, by the paths of what it was compiled from.
    pub fn open(data_dir: &Path, caches: PathBuf, read_only: Option<String>) -> Result<Self, OpenError> {
        let root = data_dir.join("deployments");
        let unreadable = |cause| OpenError::Unreadable { path: root.display().to_string(), cause };
        let mut store = Self {
            damaged: data_dir.join("damaged"),
            caches,
            records: Mutex::default(),
            unsettled: Mutex::default(),
            opened_read_only: read_only.is_some(),
            read_only: Mutex::new(read_only),
            faults: Vec::new(),
            root: root.clone(),
        };
        if !store.opened_read_only {
            durable::make_folder(&root).map_err(unreadable)?;
        }
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(store),
            entries => entries.map_err(unreadable)?,
        };
        // Everything is read before anything is changed: a gateway that is too old leaves it as it is.
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_str().and_then(|name| DeploymentName::new(name).ok());
            match name.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                Some(name) => found.push(Found::read(name, entry.path())?),
                None => tracing::warn!(path = %entry.path().display(), "is no deployment's: left alone"),
            }
        }
        found.into_iter().for_each(|found| store.take_in(found));
        for entry in fs::read_dir(&store.damaged).into_iter().flatten().flatten() {
            let path = entry.path().display().to_string();
            store.faults.push(format!("what was left of a damaged deployment is kept in {path}"));
        }
        Ok(store)
    }

    fn take_in(&mut self, Found { name, folder, generations }: Found) {
        let can_write = !self.opened_read_only;
        let mut good = None;
        let mut damaged = false;
        for (path, read) in generations {
            match read {
                Read::Nothing => {}
                Read::Corrupt(why) => {
                    damaged = true;
                    self.set_aside(&name, &path, &why);
                }
                Read::Record(record) => good = good.or(Some(*record)),
            }
        }
        match good {
            Some(record) if record.deleted => {
                tracing::info!(deployment = %name, "finishing its delete");
                if can_write {
                    self.remove_all(&name, &folder);
                }
            }
            Some(record) => {
                if can_write {
                    // A record that is damaged has been set aside: from here on this one is the newest.
                    let paths = [folder.join("record"), folder.join("record.previous")];
                    if damaged && let Err(error) = durable::replace(&paths[0], &paths[1], &record.encode()) {
                        tracing::error!(deployment = %name, %error, "its record cannot be written again");
                    }
                    self.sweep(&folder, &record);
                }
                self.records.get_mut().insert(name, record);
            }
            None if damaged || has_releases(&folder) => self.move_aside(&name, &folder),
            // The first upload of a name was cut short: nobody was told that it was taken.
            None if can_write => remove_tree(&folder),
            None => {}
        }
    }

    fn set_aside(&mut self, name: &DeploymentName, path: &Path, why: &str) {
        let aside = path.with_added_extension(format!("corrupt-{}", seconds()));
        if !self.opened_read_only {
            let _kept_in_place = fs::rename(path, &aside);
        }
        let words = format!("the record of {name:?} was damaged ({why}) and is set aside as {}", aside.display());
        tracing::error!(deployment = %name, "{words}");
        self.faults.push(words);
    }

    /// Nothing says what its files are: they are kept for somebody to look at.
    fn move_aside(&mut self, name: &DeploymentName, folder: &Path) {
        tracing::error!(deployment = %name, "has no record that can be read: it is not served");
        let aside = self.damaged.join(format!("{name}-{}", seconds()));
        let moved = !self.opened_read_only
            && durable::make_folder(&self.damaged).and_then(|()| durable::move_to(folder, &aside)).is_ok();
        if !moved {
            self.faults.push(format!("{name:?} has no record that can be read; its files are in {}", folder.display()));
        }
    }

    /// What somebody has to look at: records that were damaged when the folder was opened, a disk that has failed since.
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

    /// Does something on disk. What fails for want of space may go well later; after any other failure nobody knows what
    /// the disk has kept, so nothing more is written until somebody has looked.
    fn write(&self, act: &'static str, step: impl FnOnce() -> io::Result<()>) -> Result<(), StorageError> {
        self.check_writable()?;
        step().map_err(|cause| {
            let passes =
                [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
            if cause.raw_os_error() == Some(Errno::IO.raw_os_error()) {
                let why = format!("{act} failed ({cause}); restart the gateway when the disk is sound");
                tracing::error!(%why, "the data folder takes no more changes");
                *self.read_only.lock() = Some(why);
            } else if !cause.raw_os_error().is_some_and(|code| passes.contains(&code)) {
                tracing::error!(act, %cause, "the data folder did not take a change");
            }
            StorageError::Disk { act, cause }
        })
    }
}

enum Read {
    Record(Box<Record>),
    Nothing,
    Corrupt(String),
}

fn read_record(path: &Path, name: &DeploymentName) -> Result<Read, OpenError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Nothing),
        Err(cause) => return Ok(Read::Corrupt(cause.to_string())),
    };
    match Record::decode(&text) {
        Ok(record) if record.name == *name => Ok(Read::Record(Box::new(record))),
        Ok(record) => Ok(Read::Corrupt(format!("it is that of {:?}", record.name))),
        Err(BadRecord::Corrupt(why)) => Ok(Read::Corrupt(why)),
        Err(cause @ BadRecord::Newer(_)) => Err(OpenError::Newer { path: path.display().to_string(), cause }),
    }
}

/// Whether there is more below a deployment's folder than an upload that was cut short leaves.
fn has_releases(folder: &Path) -> bool {
    let has_damaged_record = || {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(|name| name.contains(".corrupt-")))
    };
    !numbers(&folder.join("files")).is_empty() || has_damaged_record()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
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
        let mut record = store.record("math").unwrap();
        record.deleted = true;
        store.save(record).unwrap();
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
        let mut record = store.record("math").unwrap();
        record.deleted = true;
        store.save(record).unwrap();
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
