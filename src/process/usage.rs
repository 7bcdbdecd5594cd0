//! The processor time and memory of this process and of process trees, from `/proc/<pid>/stat`: `proc_pid_stat(5)`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::process::stat;

/// What a process tree uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Processor time, with that of processes that have ended and were reaped.
    pub processor: Duration,
    /// Resident memory in bytes. What processes share counts for each of them.
    pub memory: u64,
}

/// What this process uses.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named as the metrics of Prometheus' own libraries")]
pub struct OwnUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: f64,
    pub virtual_bytes: f64,
    pub open_files: f64,
    pub max_files: f64,
    pub threads: f64,
    pub started: f64,
}

/// Fields of the file. Times are in clock ticks, `resident` in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fields {
    parent: i32,
    own: u64,
    reaped: u64,
    threads: u64,
    started: u64,
    virtual_bytes: u64,
    resident: u64,
}

impl Fields {
    fn of(pid: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in parentheses that may hold anything; those after it count from 3.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(14)? + number(15)?,
            reaped: number(16)? + number(17)?,
            threads: number(20)?,
            started: number(22)?,
            virtual_bytes: number(23)?,
            resident: number(24)?,
        })
    }
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1))
}

/// What the trees below these processes use, with themselves; those that have ended are left out. Reads a file of each
/// process of the machine: blocks for about a millisecond a hundred.
#[must_use]
pub fn of_trees(roots: &BTreeSet<i32>) -> BTreeMap<i32, TreeUsage> {
    if roots.is_empty() {
        return BTreeMap::new();
    }
    let all: HashMap<i32, Fields> =
        stat::all_pids().filter_map(|pid| Some((pid, Fields::of(&pid.to_string())?))).collect();
    let mut trees = BTreeMap::new();
    for (&pid, fields) in &all {
        let Some(root) = root_of(pid, &all, roots) else { continue };
        let tree: &mut TreeUsage = trees.entry(root).or_default();
        tree.processor += from_ticks(fields.own + fields.reaped);
        tree.memory += fields.resident * page_size() as u64;
    }
    trees
}

/// The first of the roots among a process and its ancestors.
fn root_of(mut pid: i32, all: &HashMap<i32, Fields>, roots: &BTreeSet<i32>) -> Option<i32> {
    // Ids are used again: a table that was read while processes ended may have a circle.
    for _ in 0..all.len() {
        if roots.contains(&pid) {
            return Some(pid);
        }
        pid = all.get(&pid)?.parent;
    }
    None
}

impl OwnUsage {
    /// What this process uses now; none where `/proc` is not there. Blocks for some microseconds a descriptor.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub fn read() -> Option<Self> {
        let fields = Fields::of("self")?;
        let open_files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let max_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Some(Self {
            cpu_seconds: from_ticks(fields.own).as_secs_f64(),
            resident_bytes: (fields.resident * page_size() as u64) as f64,
            virtual_bytes: fields.virtual_bytes as f64,
            // The folder that is being read is one of them.
            open_files: open_files.saturating_sub(1) as f64,
            max_files: max_files as f64,
            threads: fields.threads as f64,
            started: boot_time()? as f64 + from_ticks(fields.started).as_secs_f64(),
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_after_the_name() {
        let text = "7 (a) Z (b) S 3 7 7 0 -1 4194560 1 0 0 0 10 5 2 1 20 0 4 0 4711 8192 3 18446744073709551615 0\n";
        let fields =
            Fields { parent: 3, own: 15, reaped: 3, threads: 4, started: 4711, virtual_bytes: 8192, resident: 3 };
        assert_eq!(Fields::parse(text), Some(fields));
        assert_eq!(Fields::parse("7 (a) S 3"), None);
    }

    #[test]
    fn a_tree_has_its_root_and_the_processes_below() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let one = 1 << 16;
        let usage = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let has_child = stat::all_pids().any(|child| stat::of(child).is_some_and(|child| child.parent == pid));
            let roots = BTreeSet::from([pid]);
            has_child
                .then(|| of_trees(&roots))
                .and_then(|trees| trees.get(&pid).copied())
                .filter(|tree| tree.memory > one)
        });
        let children = stat::all_pids().filter(|child| stat::of(*child).is_some_and(|child| child.parent == pid));
        for child in children.collect::<Vec<_>>() {
            let child = rustix::process::Pid::from_raw(child).unwrap();
            rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert!(usage.is_some());
        assert_eq!(of_trees(&BTreeSet::from([pid])), BTreeMap::new());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = OwnUsage::read().unwrap();
        assert!(usage.resident_bytes > 1e6 && usage.virtual_bytes >= usage.resident_bytes, "{usage:?}");
        assert!(usage.open_files >= 3.0 && usage.max_files >= usage.open_files, "{usage:?}");
        assert!(usage.threads >= 1.0 && usage.started > 1.6e9, "{usage:?}");
    }
}
