//! The process tree of a child, and how all of it ends. A control group holds the tree where there is one. Otherwise
//! the process group and the mark in the environment find it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::process::busyness::Looks;
use crate::process::control_group::{self, Groups, TreeGroup, TreeLimits};
use crate::process::environment::mark_of;
use crate::process::stat;
use crate::process::walls::machine::{self, Wall};

const INSTANCE_START: &str = "metagate-";
/// How long killed processes may take to be gone. On a busy machine the kernel may not run them for a while.
const KILL_TIME: Duration = Duration::from_secs(2);
/// Between two looks for processes that are being killed. Some may have been started meanwhile.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// One gateway process. Its name holds the process id, the start time and the PID namespace, so that no two are the
/// same.
#[derive(Debug)]
pub struct Instance {
    name: String,
    groups: Groups,
}

impl Instance {
    /// This process.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        let name = format!("{INSTANCE_START}{pid}-{}-{}", start_time(pid).unwrap_or(0), pid_namespace());
        let groups = Groups::discover(&name);
        Self { name, groups }
    }

    /// The tree of a child that is about to be started; `number` is unique within this gateway.
    ///
    /// # Errors
    ///
    /// A control group cannot be made.
    pub fn tree(&self, number: u64, limits: TreeLimits) -> std::io::Result<Tree> {
        Ok(Tree { mark: format!("{}/{number}", self.name), group: self.groups.for_tree(number, limits)?, pid: None })
    }

    /// The walls that this machine can put up around process trees. Tries them out, which takes about a millisecond.
    #[must_use]
    pub fn walls(&self) -> Vec<Wall> {
        machine::walls(&self.groups)
    }

    /// Looks how busy the process trees are, and has them share the processors if they must. Called every second;
    /// blocks.
    pub fn share_processors(&self, looks: &mut Looks) {
        self.groups.processors.look(looks);
    }

    /// Removes the control groups of this gateway, once every tree has ended.
    pub fn remove_groups(&self) {
        self.groups.remove();
    }

    /// Kills the processes that gateways which have ended left behind, and removes their control groups. Returns how
    /// many processes it found.
    pub fn sweep_orphans(&self) -> usize {
        let entries = Groups::parents().into_iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten());
        let dead = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_dead_instance));
        let groups: Vec<_> = dead.map(|entry| entry.path()).collect();
        let mut killed = BTreeSet::new();
        for group in &groups {
            tracing::debug!(group = %group.display(), "ending the control group of a dead gateway");
            control_group::kill_all(group, &mut killed);
        }
        for (pid, mark) in marked_processes() {
            if mark.split('/').next().is_some_and(is_dead_instance) {
                tracing::info!(
                    pid = pid.as_raw_nonzero().get(),
                    mark,
                    "ending a process that a dead gateway left behind"
                );
                kill(pid);
                killed.insert(pid.as_raw_nonzero().get());
            }
        }
        // A group can be removed once its processes have ended, and a process is in a group of each controller: all are
        // killed before the first is waited for.
        for group in &groups {
            control_group::remove_all(group);
        }
        killed.len()
    }
}

/// The processes of one child.
#[derive(Debug)]
pub struct Tree {
    pub(super) mark: String,
    /// The control groups, where there are any.
    pub group: TreeGroup,
    /// The first process, once it runs; also the id of its process group.
    pub pid: Option<Pid>,
}

impl Tree {
    /// The mark of this tree: see [`MARK`](crate::process::environment::MARK).
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Asks the first process and its group to end.
    pub fn terminate(&self) {
        if let Some(pid) = self.pid {
            let _already_ended = rustix::process::kill_process_group(pid, Signal::TERM);
        }
    }

    /// Kills the first process and its process group at once; [`Tree::finish`] then ends the rest.
    pub fn kill(&self) {
        if let Some(pid) = self.pid {
            let _already_ended = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        // Where there is no group, `finish` looks for the processes by their mark.
        let _is_group = self.group.kill();
    }

    /// Kills every process of the tree, waits until they are gone, and removes its control groups. Blocks for some
    /// milliseconds, for two seconds at most.
    pub fn finish(&self) {
        self.kill();
        if !self.group.kill() {
            let latest = Instant::now() + KILL_TIME;
            loop {
                let left: Vec<Pid> =
                    marked_processes().into_iter().filter(|(_, mark)| *mark == self.mark).map(|(pid, _)| pid).collect();
                if left.is_empty() {
                    break;
                }
                if Instant::now() >= latest {
                    tracing::warn!(mark = self.mark, ?left, "processes did not end when they were killed");
                    break;
                }
                left.into_iter().for_each(kill);
                std::thread::sleep(KILL_PAUSE);
            }
        }
        self.group.remove();
    }
}

fn kill(pid: Pid) {
    let _already_ended = rustix::process::kill_process(pid, Signal::KILL);
}

/// Every process with a mark whose environment is readable. Zombies are left out, because theirs is empty.
fn marked_processes() -> Vec<(Pid, String)> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        if let (Some(mark), Some(pid)) = (mark_of(&entry.path()), Pid::from_raw(pid)) {
            found.push((pid, mark));
        }
    }
    found
}

/// Whether a name is that of a gateway process that has ended. A gateway of another PID namespace cannot be seen from
/// here and counts as running.
fn is_dead_instance(name: &str) -> bool {
    let fields: Option<Vec<u64>> =
        name.strip_prefix(INSTANCE_START).and_then(|rest| rest.split('-').map(|field| field.parse().ok()).collect());
    match fields.as_deref() {
        Some(&[pid, started, namespace]) => {
            namespace == pid_namespace() && u32::try_from(pid).is_ok_and(|pid| start_time(pid) != Some(started))
        }
        _ => false,
    }
}

/// The number of this process's PID namespace: `pid:[4026531836]`, see `pid_namespaces(7)`.
fn pid_namespace() -> u64 {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

/// When a process started, in clock ticks since boot; none if it has ended, whether it was reaped or not.
fn start_time(pid: u32) -> Option<u64> {
    stat::of(i32::try_from(pid).ok()?).filter(|process| !process.is_zombie()).map(|process| process.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_gateway_is_not_an_orphan() {
        let pid = std::process::id();
        let started = start_time(pid).unwrap();
        let namespace = pid_namespace();
        assert!(!is_dead_instance(&format!("metagate-{pid}-{started}-{namespace}")));
        assert!(is_dead_instance(&format!("metagate-{pid}-{}-{namespace}", started + 1)));
        assert!(!is_dead_instance(&format!("metagate-{pid}-{}-{}", started + 1, namespace + 1)));
        assert!(!is_dead_instance("metagate-x"));
        assert!(!is_dead_instance("user.slice"));
    }
}
