//! The walls around a process tree: what it may reach. [`Walls`] says it, the launcher puts the walls up in the new
//! process before that becomes the program, and every process that the program starts inherits them. Each wall is a
//! file: `files` (Landlock), `system_calls` (seccomp), `privileges` (capabilities); `machine` says which of them this
//! kernel has. Which walls a deployment gets is left to the layers above.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, bail};
use rustix::process::Resource;

use crate::process::limits::lower_limit;
use crate::process::walls::files::Reach;

pub mod files;
pub mod machine;
pub mod privileges;
pub mod system_calls;

/// The words in front of paths and numbers among the launcher's arguments.
const OWN: &str = "own";
const MAKE: &str = "make";
const WRITE: &str = "write";
const READ: &str = "read";
const SECRET: &str = "secret";
const OTHER: &str = "other";
const MAX_FILES: &str = "max-files";
const MAX_FILE: &str = "max-file-size";

/// What a process tree may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walls {
    /// The folder of its program, which it may change. Folders of deployments that contain it, or lie in it, are not
    /// hidden from it.
    pub own: Option<PathBuf>,
    /// Its folder for temporary files; made as those of `make` are.
    pub temp: Option<PathBuf>,
    /// Folders of its own that it may change; made if they are missing, with access for its user only.
    pub make: Vec<PathBuf>,
    /// Further files and folders that it may change.
    pub write: Vec<PathBuf>,
    /// Files and folders that it may read although they lie below a hidden one.
    pub read: Vec<PathBuf>,
    /// Open descriptors of each process at most.
    pub max_files: Option<u64>,
    /// Bytes of the largest file that it may write.
    pub max_file: Option<u64>,
    /// Processes and threads at most, where there is a control group that counts them.
    pub max_processes: Option<u64>,
}

/// What the process trees of a gateway must not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hidden {
    /// The configuration, the files that it names, and the data folder.
    pub secrets: Vec<PathBuf>,
    /// The folders of deployments.
    pub folders: Vec<PathBuf>,
}

impl Walls {
    /// Adds the arguments that [`Building::take`] reads back.
    pub(super) fn add_args(&self, hidden: &Hidden, args: &mut Vec<OsString>) {
        let mut add = |word: &str, paths: &[PathBuf]| {
            for path in paths {
                args.extend([word.into(), path.into()]);
            }
        };
        add(OWN, self.own.as_slice());
        add(MAKE, self.temp.as_slice());
        add(MAKE, &self.make);
        add(WRITE, &self.write);
        add(READ, &self.read);
        add(SECRET, &hidden.secrets);
        add(OTHER, &hidden.folders);
        for (word, most) in [(MAX_FILES, self.max_files), (MAX_FILE, self.max_file)] {
            if let Some(most) = most {
                args.extend([word.into(), most.to_string().into()]);
            }
        }
    }
}

/// The walls that a launcher is about to put up, as its arguments name them.
#[derive(Debug, Default)]
pub(super) struct Building {
    reach: Reach,
    make: Vec<PathBuf>,
    limits: Vec<(Resource, u64)>,
}

impl Building {
    /// Takes one argument and its value.
    pub(super) fn take(&mut self, word: &str, value: &OsStr) -> anyhow::Result<()> {
        let path = PathBuf::from(value);
        match word {
            OWN => self.reach.own = Some(path),
            MAKE => self.make.push(path),
            WRITE => self.reach.write.push(path),
            READ => self.reach.read.push(path),
            SECRET => self.reach.secrets.push(path),
            OTHER => self.reach.folders.push(path),
            MAX_FILES => self.limits.push((Resource::Nofile, number(value)?)),
            MAX_FILE => self.limits.push((Resource::Fsize, number(value)?)),
            _ => bail!("unknown order {word:?}"),
        }
        Ok(())
    }

    /// Puts the walls up around this process. A wall that this kernel lacks is left out: see [`machine`].
    pub(super) fn put_up(mut self) -> anyhow::Result<()> {
        for folder in self.make {
            files::make_private(&folder).with_context(|| format!("making {}", folder.display()))?;
            self.reach.write.push(folder);
        }
        for (resource, most) in self.limits {
            lower_limit(resource, most)?;
        }
        // The files first: while the process has its privileges it can open every folder that a rule is about.
        let files = files::rules(&self.reach).context("listing what the worker may read")?;
        privileges::drop_all().context("giving up privileges")?;
        files::restrict(files).context("restricting files")?;
        system_calls::restrict().context("restricting system calls")
    }
}

fn number(value: &OsStr) -> anyhow::Result<u64> {
    value.to_str().and_then(|text| text.parse().ok()).context("not a number")
}
