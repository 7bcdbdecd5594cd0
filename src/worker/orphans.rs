//! Processes that lost their parent: what a worker's tree leaves behind becomes a child of the first process of its
//! namespace. Where that is the gateway itself, in a container, it has to reap them, or their entries stay for ever.

use std::collections::HashSet;
use std::fs;

use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions};

/// The gateway's own children, which somebody else waits for.
#[derive(Debug, Default)]
pub struct OwnChildren(Mutex<HashSet<i32>>);

impl OwnChildren {
    /// Starts a child, as `start` does, and remembers it before anybody could take it for an orphan.
    pub fn start<T, E>(&self, start: impl FnOnce() -> Result<T, E>, pid: impl Fn(&T) -> Option<u32>) -> Result<T, E> {
        let mut own = self.0.lock();
        let child = start()?;
        own.extend(pid(&child).and_then(|pid| i32::try_from(pid).ok()));
        Ok(child)
    }

    /// Forgets a child that was waited for.
    pub fn forget(&self, pid: Option<Pid>) {
        if let Some(pid) = pid {
            self.0.lock().remove(&pid.as_raw_nonzero().get());
        }
    }

    /// Reaps every zombie that is a child of this process and not one of its own. Does nothing unless the gateway is
    /// the first process of its namespace.
    pub fn reap_orphans(&self) {
        if std::process::id() != 1 {
            return;
        }
        let own = self.0.lock();
        for pid in zombie_children() {
            if !own.contains(&pid)
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _gone = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

/// Children of this process that have ended and were not waited for. Format: `proc_pid_stat(5)`.
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
