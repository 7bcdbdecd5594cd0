//! Opening the store: records are read, damaged ones are set aside and reported, interrupted changes are finished or
//! removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::deployment::DeploymentName;
use crate::registry::durable;
use crate::registry::record::{BadRecord, Record};
use crate::registry::store::{Store, numbers, remove_tree};

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later gateway wrote a record.
    #[error("{path}: {cause}")]
    Newer {
        /// The record.
        path: String,
        /// The record's format.
        cause: BadRecord,
    },
    /// The folder cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The folder or record.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

/// The folder of a deployment, as found on disk.
struct Found {
    name: DeploymentName,
    folder: PathBuf,
    /// The record and the generation before it, with their paths.
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

enum Read {
    Record(Box<Record>),
    Nothing,
    Corrupt(String),
}

impl Store {
    /// Opens the store in a data folder. A damaged record is set aside as `record.corrupt-<seconds>`, and the
    /// generation before it counts; the files of a deployment without a good record are moved to `<data_dir>/damaged`.
    /// Interrupted deletes are finished, and files that no record names are removed. `read_only` is the reason why the
    /// folder cannot be written to, if it cannot; `caches` is where runtimes keep compiled code, by the paths of its
    /// sources.
    ///
    /// # Errors
    ///
    /// A later gateway wrote a record, or the folder cannot be read. Nothing has been changed then.
    pub fn open(data_dir: &Path, caches: Vec<PathBuf>, read_only: Option<String>) -> Result<Self, OpenError> {
        let root = data_dir.join("deployments");
        let unreadable = |cause| OpenError::Unreadable { path: root.display().to_string(), cause };
        let mut store = Self {
            damaged: data_dir.join("damaged"),
            caches,
            records: Mutex::default(),
            unsettled: Mutex::default(),
            opened_read_only: read_only.is_some(),
            read_only: Mutex::new(read_only),
            held: Mutex::default(),
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
        // Everything is read before anything is changed, so that a gateway that is too old changes nothing.
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_str().and_then(|name| DeploymentName::new(name).ok());
            match name.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                Some(name) => found.push(Found::read(name, entry.path())?),
                None => tracing::warn!(path = %entry.path().display(), "not a folder of a deployment: ignored"),
            }
        }
        found.into_iter().for_each(|found| store.take_in(found));
        for entry in fs::read_dir(&store.damaged).into_iter().flatten().flatten() {
            let path = entry.path().display().to_string();
            store.faults.push(format!("files of a damaged deployment are kept in {path}"));
        }
        Ok(store)
    }

    /// Opens the store of a gateway that still runs. Nothing is changed now: that gateway's workers use the files. It
    /// has finished and removed everything that was interrupted when it opened the store itself.
    ///
    /// # Errors
    ///
    /// As in [`Self::open`].
    pub fn take_over(data_dir: &Path, caches: Vec<PathBuf>) -> Result<Self, OpenError> {
        let mut store = Self::open(data_dir, caches, Some(String::new()))?;
        store.opened_read_only = false;
        *store.read_only.get_mut() = None;
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
                tracing::info!(deployment = %name, "finishing an interrupted delete");
                if can_write {
                    self.remove_all(&name, &folder);
                }
            }
            Some(record) => {
                if can_write {
                    // The damaged record has been set aside, so the good one becomes the newest generation.
                    let paths = [folder.join("record"), folder.join("record.previous")];
                    if damaged && let Err(error) = durable::replace(&paths[0], &paths[1], &record.encode()) {
                        tracing::error!(deployment = %name, %error, "rewriting the good record failed");
                    }
                    self.sweep(&folder, &record);
                }
                self.records.get_mut().insert(name, record);
            }
            None if damaged || has_releases(&folder) => self.move_aside(&name, &folder),
            // The first upload of a name was interrupted, before the client had an answer.
            None if can_write => remove_tree(&folder),
            None => {}
        }
    }

    fn set_aside(&mut self, name: &DeploymentName, path: &Path, why: &str) {
        let aside = path.with_added_extension(format!("corrupt-{}", seconds()));
        if !self.opened_read_only {
            let _kept_in_place = fs::rename(path, &aside);
        }
        let words = format!("damaged record of {name:?} ({why}), set aside as {}", aside.display());
        tracing::error!(deployment = %name, reason = why, path = %aside.display(), "damaged record set aside");
        self.faults.push(words);
    }

    /// Keeps the files of a deployment without a good record, for the operator to look at.
    fn move_aside(&mut self, name: &DeploymentName, folder: &Path) {
        tracing::error!(deployment = %name, "deployment has no readable record: not served");
        let aside = self.damaged.join(format!("{name}-{}", seconds()));
        let moved = !self.opened_read_only
            && durable::make_folder(&self.damaged).and_then(|()| durable::move_to(folder, &aside)).is_ok();
        if !moved {
            self.faults.push(format!("{name:?} has no readable record; its files are in {}", folder.display()));
        }
    }
}

fn read_record(path: &Path, name: &DeploymentName) -> Result<Read, OpenError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Nothing),
        Err(cause) => return Ok(Read::Corrupt(cause.to_string())),
    };
    match Record::decode(&text) {
        Ok(record) if record.name == *name => Ok(Read::Record(Box::new(record))),
        Ok(record) => Ok(Read::Corrupt(format!("it is the record of {:?}", record.name))),
        Err(BadRecord::Corrupt(why)) => Ok(Read::Corrupt(why)),
        Err(cause @ BadRecord::Newer(_)) => Err(OpenError::Newer { path: path.display().to_string(), cause }),
    }
}

/// Whether a deployment's folder has more in it than an interrupted first upload leaves.
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
