//! Orphans: a process whose parent has ended becomes a child of the gateway, which is the first process of a container
//! or has asked for it ([`adopt`]). The gateway has to reap them, or their entries in the process table stay for ever;
//! and it ends those that have hidden from the tree that they belong to.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitOptions, child_subreaper, getpid, kill_process, set_child_subreaper, waitpid};

use crate::process::environment::mark_of;
use crate::process::stat::{self, Stat};

/// Rounds of looking for strays: the children of an ended one become orphans themselves.
const ROUNDS: u32 = 20;

/// Makes orphans below this process its children, instead of those of the machine's first process.
pub fn adopt() -> rustix::io::Result<()> {
    set_child_subreaper(Some(getpid()))
}

/// The children that the gateway started itself. Their exit status belongs to the task that waits for them: reaping
/// one here would take it away.
#[derive(Debug, Default)]
pub struct OwnChildren(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    pids: HashSet<i32>,
    /// The marks of the process trees that have not ended.
    trees: HashSet<String>,
}

impl OwnChildren {
    /// Starts a child with `start` and records it with the mark of its tree. The lock is held over both, so that
    /// [`Self::reap_orphans`] cannot see the child before it is recorded.
    pub fn start<T, E>(
        &self,
        mark: &str,
        start: impl FnOnce() -> Result<T, E>,
        pid: impl Fn(&T) -> Option<u32>,
    ) -> Result<T, E> {
        let mut known = self.0.lock();
        let child = start()?;
        known.pids.extend(pid(&child).and_then(|pid| i32::try_from(pid).ok()));
        known.trees.insert(mark.to_owned());
        Ok(child)
    }

    /// Starts a child that belongs to no process tree, and records it. It is left alone.
    pub fn start_alone(
        &self,
        start: impl FnOnce() -> std::io::Result<std::process::Child>,
    ) -> std::io::Result<std::process::Child> {
        let mut known = self.0.lock();
        let child = start()?;
        known.pids.extend(i32::try_from(child.id()).ok());
        Ok(child)
    }

    /// Removes the record of a child whose exit status was read.
    pub fn forget(&self, pid: Option<Pid>) {
        if let Some(pid) = pid {
            self.0.lock().pids.remove(&pid.as_raw_nonzero().get());
        }
    }

    /// Removes the record of a tree whose processes have ended, and ends those that had hidden from it. Blocks.
    pub fn end_tree(&self, mark: &str) {
        self.0.lock().trees.remove(mark);
        self.end_strays();
    }

    /// Ends orphans with walls that belong to no living tree: they have left its control group, or there is none, and
    /// have taken its mark out of their environment. Then reaps every orphan that has ended. Blocks.
    pub fn end_strays(&self) {
        if !adopts() {
            return;
        }
        for _ in 0..ROUNDS {
            let known = self.0.lock();
            let strays: Vec<i32> = orphans(&known).into_iter().filter(|pid| is_stray(*pid, &known)).collect();
            for pid in &strays {
                tracing::warn!(pid, "ending a process that had left its worker");
                let _already_ended = Pid::from_raw(*pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            drop(known);
            if strays.is_empty() {
                break;
            }
        }
        self.reap_orphans();
    }

    /// Reaps every orphan that has ended. Does nothing if the gateway does not adopt orphans.
    pub fn reap_orphans(&self) {
        if !adopts() {
            return;
        }
        let known = self.0.lock();
        for pid in orphans(&known).into_iter().filter(|pid| is_zombie(*pid)) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _already_reaped = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

fn adopts() -> bool {
    std::process::id() == 1 || matches!(child_subreaper(), Ok(Some(_)))
}

/// The children of this process that it did not start through the spawner.
fn orphans(known: &Known) -> Vec<i32> {
    let mut children: Vec<i32> = Vec::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children.retain(|pid| !known.pids.contains(pid));
    children
}

/// Whether an orphan has walls and belongs to no tree. Other children of the gateway without a record have none, such
/// as the compiler of WebAssembly.
fn is_stray(pid: i32, known: &Known) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let has_walls = filters(&process) > filters(Path::new("/proc/self"));
    has_walls && !is_zombie(pid) && {
        let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let in_group = known.trees.iter().any(|mark| group.contains(&format!("/{mark}\n")));
        !in_group && mark_of(&process).is_none_or(|mark| !known.trees.contains(&mark))
    }
}

/// Filters of system calls in force: a process can add to its parent's, never remove one. See `proc_pid_status(5)`.
fn filters(process: &Path) -> u32 {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    // Kernels before 5.9 only say whether there is one.
    field("Seccomp_filters:").or_else(|| field("Seccomp:")).unwrap_or(0)
}

/// Whether a process has ended and was not reaped.
fn is_zombie(pid: i32) -> bool {
    stat::of(pid).is_some_and(Stat::is_zombie)
}
