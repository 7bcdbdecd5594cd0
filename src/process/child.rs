//! One child process and how it ends. Its end is seen through a pidfd, which tokio's `Child` holds. Starting it is
//! left to `spawner`, the processes below it to `tree`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::process::Child;

use crate::process::launch;
use crate::process::orphans::OwnChildren;
use crate::process::tree::Tree;

/// A child process and its tree. Dropping it kills the process and its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The tree below and including this process.
    pub tree: Tree,
    children: Arc<OwnChildren>,
    ended: Option<Ended>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// The kernel did not report it: waiting for the process failed.
    Unknown,
}

impl Ended {
    /// Whether a write beyond the limit of file sizes (`SIGXFSZ`) ended the process.
    #[must_use]
    pub fn is_by_file_size(self) -> bool {
        self == Self::Signal(Signal::XFSZ.as_raw())
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => {
                write!(f, "exited with code {code}")?;
                match signal_of(*code) {
                    Some((signal, name)) => write!(f, " (signal {signal}, {name}, ended its program)"),
                    None => Ok(()),
                }
            }
            Self::Signal(signal) => write!(f, "exited by signal {signal}"),
            Self::Unknown => f.write_str("exited"),
        }
    }
}

/// The signal that an exit code stands for, if it is one that a shell reports of the program that it ran.
fn signal_of(code: i32) -> Option<(i32, &'static str)> {
    let signals = [
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    let found = signals.into_iter().find(|(signal, _)| 128 + signal.as_raw() == code);
    found.map(|(signal, name)| (signal.as_raw(), name))
}

impl Process {
    /// The running process `child`, the first of `tree`.
    pub(super) fn new(child: Child, tree: Tree, children: Arc<OwnChildren>) -> Self {
        Self { child, tree, children, ended: None }
    }

    /// Waits until the process has ended, and reaps it. It can be called again, also after it was cancelled.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = self.child.wait().await.map_or(Ended::Unknown, Ended::from);
        self.children.forget(self.tree.pid);
        self.ended = Some(ended);
        ended
    }

    /// How it ended, and the limit that it had reached, if any: `exited by signal 9 because it ran out of memory (…)`.
    #[must_use]
    pub fn how(&self, ended: Ended) -> String {
        let reason = match self.tree.group.limits_reached() {
            reached if reached.is_empty() && ended.is_by_file_size() => {
                " because it wrote more than max_file_size to a file".to_owned()
            }
            reached => reached,
        };
        format!("{ended}{reason}")
    }

    /// Kills the process and its process group at once.
    pub fn kill(&self) {
        self.tree.kill();
        // The process may have moved itself to another process group. After it was reaped its id may belong to another.
        if let Some(pid) = self.tree.pid.filter(|_| self.ended.is_none()) {
            let _already_ended = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Kills every process of the tree and removes its control groups. Blocks for some milliseconds.
    pub fn finish_tree(&self) {
        self.tree.finish();
        self.children.end_tree(self.tree.mark());
    }

    /// Whether the launcher could not run the program: `stderr` then starts with the launcher's complaint.
    #[must_use]
    pub fn was_not_run(ended: Ended, stderr: &str) -> bool {
        ended == Ended::Code(i32::from(launch::EXIT_NOT_RUN)) && stderr.starts_with(launch::COMPLAINT)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}
