//! Finds programs: on the gateway's PATH, or at the path that the configuration names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

/// Limits of the answer of a version manager that is asked where a program is: time and bytes.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const ANSWER_BYTES: u64 = 4096;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A bare name that is in none of PATH's folders.
    #[error("there is no {name:?} on the gateway's PATH: install it, or name the program with {key}")]
    NotOnPath {
        /// The name.
        name: String,
        /// The configuration key that can name another.
        key: &'static str,
    },
    /// A path where there is no file.
    #[error("{key}: there is no {path:?}")]
    NotThere {
        /// The path.
        path: PathBuf,
        /// The configuration key that names the path.
        key: &'static str,
    },
    /// A file that is not executable.
    #[error("{key}: {path:?} is not executable")]
    NotExecutable {
        /// The path.
        path: PathBuf,
        /// The configuration key that names the path.
        key: &'static str,
    },
}

impl ProgramError {
    /// The configuration key that names the program.
    #[must_use]
    pub fn key(&self) -> &'static str {
        let (Self::NotOnPath { key, .. } | Self::NotThere { key, .. } | Self::NotExecutable { key, .. }) = self;
        key
    }
}

/// Finds a program: a bare name on PATH, a path with a slash as it is. Errors name `key`, the configuration key.
pub fn find(name: &Path, key: &'static str) -> Result<PathBuf, ProgramError> {
    if name.components().count() > 1 || name.is_absolute() {
        let path = name.to_owned();
        return match (is_program(name), name.exists()) {
            (true, _) => Ok(path),
            (false, true) => Err(ProgramError::NotExecutable { path, key }),
            (false, false) => Err(ProgramError::NotThere { path, key }),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| ProgramError::NotOnPath { name: name.display().to_string(), key })
}

/// The program behind the script of a version manager (nvm, pyenv, asdf), which would add its own start time to each
/// worker's. The script is asked once in the life of the gateway: `question` are the arguments with which the program
/// prints its own path. Returns the script itself if that fails.
#[must_use]
pub fn behind_script(program: PathBuf, question: &[&str]) -> PathBuf {
    static KNOWN: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());
    if !is_script(&program) {
        return program;
    }
    let known = KNOWN.lock().get(&program).cloned();
    known.unwrap_or_else(|| {
        let behind = ask(&program, question).unwrap_or_else(|| program.clone());
        KNOWN.lock().insert(program, behind.clone());
        behind
    })
}

fn ask(program: &Path, question: &[&str]) -> Option<PathBuf> {
    let mut command = Command::new(program);
    command.args(question).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().ok()?;
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > ANSWER_TIME {
            // The whole group: children of the script hold the pipe too.
            let _already_ended = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _reaped = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut answer = String::new();
    child.stdout.take()?.take(ANSWER_BYTES).read_to_string(&mut answer).ok()?;
    let path = PathBuf::from(answer.trim());
    (path.is_absolute() && is_program(&path)).then_some(path)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether a file can be run, and is not a script.
#[must_use]
pub fn is_binary(path: &Path) -> bool {
    is_program(path) && !is_script(path)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

/// Whether a file name ends in one of these.
#[must_use]
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| extensions.contains(&extension))
}
