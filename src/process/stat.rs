//! What the kernel reports about a process in `/proc/<pid>/stat`: `proc_pid_stat(5)`.

use std::fs;

/// A process at the moment of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    state: char,
    /// Its parent; 0 if that is outside the PID namespace, or if there is none.
    pub(super) parent: i32,
    /// When it started, in clock ticks since boot.
    pub(super) started: u64,
}

impl Stat {
    /// Reads the text of the file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The second field is a name in parentheses that may hold anything.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { state, parent, started })
    }

    /// Whether it runs or waits for a processor.
    pub(super) fn is_runnable(self) -> bool {
        self.state == 'R'
    }

    /// Whether it has ended and was not reaped.
    pub(super) fn is_zombie(self) -> bool {
        self.state == 'Z'
    }
}

/// The process with this id; none if there is none.
pub(super) fn of(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The ids of all processes, in ascending order.
pub(super) fn all_pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The children of this process, with those that have ended and were not reaped.
pub(super) fn children_of_this_process() -> impl Iterator<Item = (i32, Stat)> {
    let own = i32::try_from(std::process::id()).ok();
    all_pids().filter_map(|pid| Some((pid, of(pid)?))).filter(move |(_, process)| Some(process.parent) == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_passed_over() {
        let text = "7 (a) Z (b) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0 18446744073709551615 0\n";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', parent: 3, started: 4711 }));
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn a_child_is_among_the_children() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = children_of_this_process().find(|(found, _)| *found == pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_some_and(|(_, child)| !child.is_zombie()));
    }
}
