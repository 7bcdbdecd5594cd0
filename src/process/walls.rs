//! The walls around a process tree: what it may reach. [`Walls`] says it, the launcher puts the walls up in the new
//! process before that becomes the program, and every process that the program starts inherits them. Each wall is a
//! file: `files` and `network` (Landlock), `system_calls` (seccomp), `privileges` (capabilities), `user`,
//! `namespaces`; `machine` says which of them this kernel has. Which walls a deployment gets is left to the layers
//! above.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::{Resource, geteuid};

use crate::process::limits::lower_limit;
use crate::process::walls::files::Reach;
use crate::process::walls::level::Level;
use crate::process::walls::user::User;

pub mod files;
pub mod level;
pub mod machine;
pub mod namespaces;
mod network;
pub mod privileges;
pub mod system_calls;
pub mod user;

/// The words in front of paths and numbers among the launcher's arguments.
const LEVEL: &str = "level";
const STRICT: &str = "strict";
const SEALED: &str = "sealed";
const OWN: &str = "own";
const MAKE: &str = "make";
const WRITE: &str = "write";
const READ: &str = "read";
const RUNTIME: &str = "runtime";
const SECRET: &str = "secret";
const OTHER: &str = "other";
const MAX_FILES: &str = "max-files";
const MAX_FILE: &str = "max-file-size";
const USER: &str = "user";
const PORT: &str = "port";
/// What belongs to an interpreter next to the folder of its program; `pyvenv.cfg` is that of a virtual environment.
const BESIDE_PROGRAMS: [&str; 5] = ["bin", "lib", "lib64", "share", "pyvenv.cfg"];

/// What a process tree may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walls {
    /// How much of the machine.
    pub level: Level,
    /// The folder of its program, which it may change unless the level is strict. Folders of deployments that contain
    /// it, or lie in it, are not hidden from it.
    pub own: Option<PathBuf>,
    /// Its folder for temporary files; made as those of `make` are.
    pub temp: Option<PathBuf>,
    /// Folders of its own that it may change; made if they are missing, with access for its user only.
    pub make: Vec<PathBuf>,
    /// Further files and folders that it may change.
    pub write: Vec<PathBuf>,
    /// Files and folders that it may read although they lie below a hidden one.
    pub read: Vec<PathBuf>,
    /// Files and folders of its program's interpreter, which it may read unless they are hidden themselves.
    pub runtime: Vec<PathBuf>,
    /// Open descriptors of each process at most.
    pub max_files: Option<u64>,
    /// Bytes of the largest file that it may write.
    pub max_file: Option<u64>,
    /// Processes and threads at most, where there is a control group that counts them.
    pub max_processes: Option<u64>,
    /// The user that it runs as; the gateway's if there is none.
    pub user: Option<User>,
    /// TCP ports that it may connect to under strict isolation, on any host.
    pub ports: Vec<u16>,
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
    /// Allows the files of a program that may not be where the system's are: the program, and the folders next to its
    /// own where an interpreter has its modules.
    pub fn allow_program(&mut self, program: &Path) {
        let behind = program.canonicalize().unwrap_or_else(|_| program.to_owned());
        for program in [program, &behind] {
            self.runtime.push(program.to_owned());
            let prefix = program.parent().and_then(Path::parent).filter(|prefix| *prefix != Path::new("/"));
            self.runtime.extend(prefix.into_iter().flat_map(|prefix| BESIDE_PROGRAMS.map(|name| prefix.join(name))));
        }
    }

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
        add(RUNTIME, &self.runtime);
        add(SECRET, &hidden.secrets);
        add(OTHER, &hidden.folders);
        match self.level {
            Level::Standard => {}
            Level::Strict => args.extend([LEVEL.into(), STRICT.into()]),
            Level::Sealed => args.extend([LEVEL.into(), SEALED.into()]),
        }
        for (word, most) in [(MAX_FILES, self.max_files), (MAX_FILE, self.max_file)] {
            if let Some(most) = most {
                args.extend([word.into(), most.to_string().into()]);
            }
        }
        if let Some(user) = self.user {
            args.extend([USER.into(), user.to_string().into()]);
        }
        for port in &self.ports {
            args.extend([PORT.into(), port.to_string().into()]);
        }
    }
}

/// The walls that a launcher is about to put up, as its arguments name them.
#[derive(Debug, Default)]
pub(super) struct Building {
    level: Level,
    reach: Reach,
    make: Vec<PathBuf>,
    limits: Vec<(Resource, u64)>,
    user: Option<User>,
    ports: Vec<u16>,
}

impl Building {
    /// Takes one argument and its value.
    pub(super) fn take(&mut self, word: &str, value: &OsStr) -> anyhow::Result<()> {
        let path = PathBuf::from(value);
        match word {
            LEVEL if value == STRICT => self.level = Level::Strict,
            LEVEL if value == SEALED => self.level = Level::Sealed,
            OWN => self.reach.own = Some(path),
            MAKE => self.make.push(path),
            WRITE => self.reach.write.push(path),
            READ => self.reach.read.push(path),
            RUNTIME => self.reach.runtime.push(path),
            SECRET => self.reach.secrets.push(path),
            OTHER => self.reach.folders.push(path),
            MAX_FILES => self.limits.push((Resource::Nofile, number(value)?)),
            MAX_FILE => self.limits.push((Resource::Fsize, number(value)?)),
            USER => self.user = Some(value.to_str().and_then(User::parse).context("not a user")?),
            PORT => self.ports.push(u16::try_from(number(value)?).context("not a port")?),
            _ => bail!("unknown order {word:?}"),
        }
        Ok(())
    }

    /// Whether the walls are put up around the first process of namespaces of its own.
    pub(super) fn needs_namespaces(&self) -> bool {
        self.level == Level::Strict
    }

    /// Puts the walls up around this process. A wall that this kernel lacks is left out: see [`machine`].
    pub(super) fn put_up(mut self) -> anyhow::Result<()> {
        let (is_strict, is_root) = (self.level == Level::Strict, geteuid().is_root());
        if self.user.is_some() && !is_root {
            bail!("\"run_as\" needs a gateway that runs as root");
        }
        if is_strict && is_root && self.user.is_none_or(|user| user.uid == 0) {
            bail!("isolation = \"strict\" as root needs \"run_as\" with another user");
        }
        if is_strict && namespaces::settle() {
            self.reach.write.push(namespaces::SHARED_MEMORY.into());
        }
        for folder in &self.make {
            files::make_private(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        if is_root {
            self.give_files()?;
        }
        self.reach.write.append(&mut self.make);
        for (resource, most) in self.limits {
            lower_limit(resource, most)?;
        }
        // The files first: while the process has its privileges it can open every folder that a rule is about.
        let rules = files::rules(&self.reach, self.level).context("listing what the worker may read")?;
        let rules = files::prepare(rules, self.level).context("opening what the worker may read")?;
        privileges::drop_all(self.user).context("giving up privileges")?;
        let has_files = files::restrict(rules).context("restricting files")?;
        let has_network = match self.level {
            Level::Standard => true,
            Level::Strict | Level::Sealed => network::restrict(&self.ports).context("restricting the network")?,
        };
        let has_system_calls =
            system_calls::restrict(self.level, !self.ports.is_empty()).context("restricting system calls")?;
        if is_strict && !(has_files && has_network && has_system_calls) {
            bail!("isolation = \"strict\" needs walls that this machine lacks: \"metagate doctor\" shows them");
        }
        Ok(())
    }

    /// Gives the files that are this process tree's own to its user: folders that are made for it, and a release that
    /// is kept below a hidden folder. Files of configured folders keep their owners.
    fn give_files(&self) -> anyhow::Result<()> {
        let user = self.user.unwrap_or(User::alone(0));
        let is_kept = |path: &PathBuf| self.reach.secrets.iter().any(|secret| path.starts_with(secret));
        for folder in self.make.iter().chain(self.reach.own.iter().filter(|own| is_kept(own))) {
            user::give(folder, user).with_context(|| format!("giving {} to the user", folder.display()))?;
        }
        if self.user.is_some() {
            let needed = self.make.iter().chain(&self.reach.own).chain(&self.reach.read);
            for (path, folder) in needed.flat_map(|path| self.reach.secrets.iter().map(move |secret| (path, secret))) {
                if path.starts_with(folder) {
                    user::open_way(folder, path).with_context(|| format!("opening the way to {}", path.display()))?;
                }
            }
        }
        Ok(())
    }
}

/// Lets this thread, and those that it starts from now on, start no program and no process. Returns whether this kernel
/// can do that.
pub fn seal() -> anyhow::Result<bool> {
    system_calls::seal()
}

fn number(value: &OsStr) -> anyhow::Result<u64> {
    value.to_str().and_then(|text| text.parse().ok()).context("not a number")
}

#[cfg(test)]
mod tests {
    use std::thread;

    /// Whether a thread can start a program, after `first` in the same thread.
    #[expect(clippy::disallowed_methods, reason = "a test of what a thread may start")]
    fn can_start_a_program(first: fn()) -> bool {
        let start = move || {
            first();
            std::process::Command::new("true").status().is_ok()
        };
        thread::spawn(start).join().unwrap()
    }

    #[test]
    fn a_sealed_thread_starts_threads_but_no_program() {
        assert!(can_start_a_program(|| {}));
        let is_sealed = thread::spawn(|| super::seal().unwrap()).join().unwrap();
        let sealed = || {
            super::seal().unwrap();
            assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        };
        assert_eq!(can_start_a_program(sealed), !is_sealed);
    }
}
