//! Control groups for each process tree, where the machine permits them: they kill a tree whole, limit its memory and
//! its number of processes. When trees are in groups that share the processors between them, `processors` decides.
//! Where the machine permits none, `tree` falls back to process groups and a mark in the environment.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::hierarchies::Hierarchies;
use crate::process::processors::{Place, Processors, Share};

/// The file with the controllers that a group of v2 passes on to its children.
const CHILDREN: &str = "cgroup.subtree_control";
/// Controllers of v2 whose children are limited here.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Attempts to remove a group while its last processes end, 2 ms apart. A busy machine may need all of them.
const REMOVE_TRIES: u32 = 1000;

/// Where this gateway may make groups. Both hierarchies are used, because some machines still have controllers on v1.
#[derive(Debug, Default)]
pub struct Groups {
    /// A v2 group of this gateway, whose children have `cgroup.kill`.
    unified: Option<PathBuf>,
    memory: Option<Controller>,
    processes: Option<Controller>,
    /// The processors, and when trees share them.
    pub processors: Processors,
    /// Bytes of memory that a tree without a limit may use.
    most_memory: u64,
}

/// A group of this gateway whose children can be limited.
#[derive(Debug)]
struct Controller {
    group: PathBuf,
    /// The file that sets the limit.
    file: &'static str,
}

/// What a process tree may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreeLimits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Its share of the processors, relative to those of other trees. 1 to 10000.
    pub cpu_weight: Option<u32>,
}

impl Groups {
    /// Makes this gateway's own groups, named by `instance`, below the group that it runs in.
    #[must_use]
    pub fn discover(instance: &str) -> Self {
        let hierarchies = Hierarchies::current();
        let unified = hierarchies.unified_parent().and_then(|parent| make(&parent, instance, "cgroup.kill"));
        if let Some(group) = &unified {
            for name in CONTROLLERS {
                let _not_here = fs::write(group.join(CHILDREN), format!("+{name}"));
            }
        }
        let passed_on =
            unified.as_ref().and_then(|group| fs::read_to_string(group.join(CHILDREN)).ok()).unwrap_or_default();
        let controller = |v2: &'static str, name, v1: &'static str| {
            let is_passed_on = passed_on.split_whitespace().any(|of| v2.split('.').next() == Some(of));
            if let Some(group) = unified.clone().filter(|_| is_passed_on) {
                return Some(Controller { group, file: v2 });
            }
            let group = make(&hierarchies.v1_parent(name)?, instance, v1)?;
            Some(Controller { group, file: v1 })
        };
        let memory = controller("memory.max", "memory", "memory.limit_in_bytes");
        let processes = controller("pids.max", "pids", "pids.max");
        let place = match controller("cpu.weight", "cpu", "cpu.shares") {
            Some(Controller { group, file: "cpu.weight" }) => Some(Place::Unified(group)),
            Some(Controller { group: trees, .. }) => {
                hierarchies.v1_parent("cpu").map(|own| Place::Apart { own, trees })
            }
            None => None,
        };
        let processors = Processors::new(place, unified.as_deref());
        Self { unified, memory, processes, processors, most_memory: hierarchies.usual_memory() }
    }

    /// Whether trees can be killed whole, limited in memory, limited in processes, and given a share of the processors.
    #[must_use]
    pub fn abilities(&self) -> [bool; 4] {
        let Self { unified, memory, processes, processors, .. } = self;
        [unified.is_some(), memory.is_some(), processes.is_some(), processors.can_be_shared()]
    }

    /// The parents in which gateways make their groups: those of this gateway and of gateways that have ended.
    #[must_use]
    pub fn parents() -> Vec<PathBuf> {
        let hierarchies = Hierarchies::current();
        let v1 = ["memory", "pids", "cpu"].map(|name| hierarchies.v1_parent(name));
        v1.into_iter().chain([hierarchies.unified_parent()]).flatten().collect()
    }

    /// Makes the groups of one process tree; all of them or none.
    pub fn for_tree(&self, id: u64, limits: TreeLimits) -> io::Result<TreeGroup> {
        let mut group = TreeGroup::default();
        let made = self.make_groups(&mut group, id, limits);
        if made.is_err() {
            group.remove();
        }
        made.map(|()| group)
    }

    fn make_groups(&self, group: &mut TreeGroup, id: u64, limits: TreeLimits) -> io::Result<()> {
        if let Some(unified) = &self.unified {
            group.add(unified.join(id.to_string()))?;
            group.can_kill = true;
        }
        let memory = limits.memory.unwrap_or(self.most_memory);
        group.bounds_memory = group.limit(self.memory.as_ref(), id, Some(memory))?;
        group.limit(self.processes.as_ref(), id, limits.processes)?;
        group.share = self.processors.share(id, limits.cpu_weight)?;
        group.limits = TreeLimits { memory: Some(memory), ..limits };
        Ok(())
    }

    /// Removes this gateway's own groups, once those of its trees are gone.
    pub fn remove(&self) {
        let controllers = self.memory.iter().chain(&self.processes).map(|controller| controller.group.as_path());
        for path in self.unified.as_deref().into_iter().chain(controllers).chain(self.processors.group()) {
            let _busy_or_gone = fs::remove_dir(path);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The groups of one process tree.
#[derive(Debug, Default)]
pub struct TreeGroup {
    /// The groups, each once: first the one with `cgroup.kill`, if there is one.
    paths: Vec<PathBuf>,
    can_kill: bool,
    share: Share,
    /// Whether the kernel limits the memory of the tree with one of these groups.
    pub bounds_memory: bool,
    limits: TreeLimits,
}

impl TreeGroup {
    /// The groups that the first process must join before it runs anything.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let joined = self.share.group.iter().filter(|_| self.share.joins);
        self.paths.iter().chain(joined).map(PathBuf::as_path)
    }

    /// Makes a group and adds it, unless it is there already.
    fn add(&mut self, path: PathBuf) -> io::Result<()> {
        if !self.paths.contains(&path) {
            fs::create_dir(&path)?;
            self.paths.push(path);
        }
        Ok(())
    }

    /// Limits the tree with a controller. Returns whether it is limited.
    fn limit(&mut self, controller: Option<&Controller>, id: u64, most: Option<u64>) -> io::Result<bool> {
        let (Some(Controller { group, file }), Some(most)) = (controller, most) else { return Ok(false) };
        let path = group.join(id.to_string());
        self.add(path.clone())?;
        fs::write(path.join(file), most.to_string())?;
        Ok(true)
    }

    /// Kills every process in the group. Returns false if there is no group with `cgroup.kill`.
    #[must_use]
    pub fn kill(&self) -> bool {
        let kills = self.paths.first().filter(|_| self.can_kill);
        kills.is_some_and(|path| fs::write(path.join("cgroup.kill"), "1").is_ok())
    }

    /// Whether the kernel killed a process of the group because its memory ran out.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        self.paths().any(|path| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                fs::read_to_string(path.join(file)).is_ok_and(|text| {
                    text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
                })
            })
        })
    }

    /// Which limits of the tree were reached, to follow how it ended: " because …".
    #[must_use]
    pub fn limits_reached(&self) -> String {
        let bytes = self.limits.memory.unwrap_or_default();
        let processes = self.limits.processes.unwrap_or_default();
        match (self.ran_out_of_memory(), self.ran_out_of_processes()) {
            (true, _) => format!(" because it ran out of memory (max_memory is {bytes} bytes)"),
            (false, true) => format!(" after it had reached max_processes ({processes})"),
            (false, false) => String::new(),
        }
    }

    /// Whether the kernel refused to start a process or thread of the group.
    fn ran_out_of_processes(&self) -> bool {
        let refused = |text: &str| text.lines().any(|line| line.strip_prefix("max ").is_some_and(|count| count != "0"));
        self.paths().any(|path| fs::read_to_string(path.join("pids.events")).is_ok_and(|text| refused(&text)))
    }

    /// Removes the groups; waits up to two seconds for processes that are ending.
    pub fn remove(&self) {
        // The one for cpu last: see `processors`.
        for path in self.paths.iter().chain(&self.share.group) {
            remove_group(path);
        }
    }
}

/// Kills the processes in a group and in the groups below it. Groups of v1 have no `cgroup.kill`: their processes are
/// killed one by one. Adds the ids of all of them to `killed`.
pub fn kill_all(path: &Path, killed: &mut BTreeSet<i32>) {
    for child in groups_below(path) {
        kill_all(&child, killed);
    }
    let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<i32> = listed.lines().filter_map(|pid| pid.parse().ok()).collect();
    if fs::write(path.join("cgroup.kill"), "1").is_err() {
        for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _already_ended = kill_process(pid, Signal::KILL);
        }
    }
    killed.extend(pids);
}

/// Removes a group and the groups below it, whose processes were killed.
pub fn remove_all(path: &Path) {
    for child in groups_below(path) {
        remove_all(&child);
    }
    remove_group(path);
}

fn groups_below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_group(path: &Path) {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(Duration::from_millis(2)),
            _ => return,
        }
    }
    tracing::warn!(group = %path.display(), "control group could not be removed");
}

/// Makes a group; none if it lacks the file `needed`, because its controller is not enabled there.
fn make(parent: &Path, instance: &str, needed: &str) -> Option<PathBuf> {
    let group = parent.join(instance);
    fs::create_dir(&group).ok()?;
    if group.join(needed).exists() {
        return Some(group);
    }
    let _empty = fs::remove_dir(&group);
    None
}
