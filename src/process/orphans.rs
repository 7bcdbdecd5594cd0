//! Orphans: a process whose parent has ended becomes a child of the first process of its PID namespace. In a container
//! that is often the gateway, which then has to reap orphans, or their entries in the process table stay for ever.

use std::collections::HashSet;
use std::fs;

use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions};

/// The children that the gateway started itself. Their exit status belongs to the task that waits for them: reaping
/// one here would take it away.
#[derive(Debug, Default)]
pub struct OwnChildren(Mutex<HashSet<i32>>);

impl OwnChildren {
    /// Starts a child with `start` and records it. The lock is held over both, so that [`Self::reap_orphans`] cannot
    /// see the child before it is recorded.
    pub fn start<T, E>(&self, start: impl FnOnce() -> Result<T, E>, pid: impl Fn(&T) -> Option<u32>) -> Result<T, E> {
        let mut own = self.0.lock();
        let child = start()?;
        own.extend(pid(&child).and_then(|pid| i32::try_from(pid).ok()));
        Ok(child)
    }

    /// Removes the record of a child whose exit status was read.
    pub fn forget(&self, pid: Option<Pid>) {
        if let Some(pid) = pid {
            self.0.lock().remove(&pid.as_raw_nonzero().get());
        }
    }

    /// Reaps every zombie child that the gateway did not start itself. Does nothing unless the gateway is the first
    /// process of its namespace.
    pub fn reap_orphans(&self) {
        if std::process::id() != 1 {
            return;
        }
        let own = self.0.lock();
        for pid in zombie_children() {
            if !own.contains(&pid)
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _already_reaped = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

/// Children of this process that have ended and were not reaped. Format: `proc_pid_stat(5)`.
fn zombie_children() -> Vec<i32> {
    let parent = std::process::id().to_string();
    let is_zombie = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        fields.next() == Some("Z") && fields.next() == Some(&parent)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_zombie).collect()
}
