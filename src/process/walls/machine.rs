//! The walls that this machine can put up. They are tried out, in threads that end with it: a kernel may have a wall
//! and not allow it, as in some containers.

use std::fs;
use std::thread;

use landlock::{AccessFs, LandlockStatus, Ruleset, RulesetAttr};
use seccompiler::apply_filter;

use crate::process::control_group::Groups;
use crate::process::walls::level::Level;
use crate::process::walls::namespaces;
use crate::process::walls::system_calls;

/// The first Landlock ABI that can restrict signals, and the one that can restrict moving and truncating files.
const SIGNALS_ABI: i32 = 6;
const FILES_ABI: i32 = 3;

/// The walls that strict isolation does not do without.
pub const NEEDED_FOR_STRICT: [&str; 4] = ["files", "signals", "system_calls", PROCESS_NAMESPACE];
const PROCESS_NAMESPACE: &str = "process_namespace";

/// One wall, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// Its name in `/readyz` and in metrics.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Whether this machine can put it up.
    pub up: bool,
    /// What decides about it: `Landlock ABI 7`.
    pub by: String,
}

impl Wall {
    /// Whether only strict isolation has it.
    #[must_use]
    pub fn is_strict_only(&self) -> bool {
        self.name == PROCESS_NAMESPACE
    }
}

/// Tries out every wall. Takes some milliseconds.
#[must_use]
pub fn walls(groups: &Groups) -> Vec<Wall> {
    let abi = thread::spawn(landlock_abi).join().unwrap_or(0);
    let filters = thread::spawn(has_filters).join().unwrap_or(false);
    let has_namespaces = namespaces::are_possible();
    let [kills, memory, processes, processors] = groups.abilities();
    let landlock = || if abi == 0 { "no Landlock".to_owned() } else { format!("Landlock ABI {abi}") };
    let group = |up: bool, what: &str| format!("{} {what}", if up { "a control group" } else { "no control group" });
    let wall = |name, what, up, by| Wall { name, what, up, by };
    vec![
        wall("capabilities", "workers have no capabilities, whatever their user", true, "the kernel".to_owned()),
        wall("files", "workers read no secrets and change only their own files", abi >= FILES_ABI, landlock()),
        wall("signals", "workers signal and trace only their own processes", abi >= SIGNALS_ABI, landlock()),
        wall(
            "system_calls",
            "workers make no system calls that reach into the kernel or other processes",
            filters,
            if filters { "seccomp filters" } else { "no seccomp filters" }.to_owned(),
        ),
        wall(
            PROCESS_NAMESPACE,
            "strict workers see and keep no processes but their own",
            has_namespaces,
            if has_namespaces { "a PID namespace" } else { "no PID namespace for this user" }.to_owned(),
        ),
        wall("process_trees", "no process survives its worker", kills, group(kills, "with cgroup.kill")),
        wall("memory", "max_memory holds for all processes of a worker together", memory, group(memory, "for memory")),
        wall("processes", "max_processes holds", processes, group(processes, "for pids")),
        wall("processors", "busy workers share the processors by cpu_weight", processors, group(processors, "for cpu")),
    ]
}

/// Whether unprivileged processes of this machine may make user namespaces, as far as its settings tell.
#[must_use]
pub fn has_user_namespaces() -> bool {
    let setting = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    fs::exists("/proc/self/ns/user").unwrap_or(false)
        && setting("/proc/sys/user/max_user_namespaces").is_none_or(|most| most > 0)
        && setting("/proc/sys/kernel/unprivileged_userns_clone").is_none_or(|allowed| allowed > 0)
        && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").is_none_or(|restricted| restricted == 0)
}

/// The version of Landlock; 0 without it. Restricts this thread.
fn landlock_abi() -> i32 {
    let made = Ruleset::default().handle_access(AccessFs::MakeBlock).and_then(Ruleset::create);
    match made.and_then(landlock::RulesetCreated::restrict_self) {
        Ok(status) => match status.landlock {
            LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
        },
        Err(_) => 0,
    }
}

/// Whether system calls can be filtered. Restricts this thread.
fn has_filters() -> bool {
    system_calls::programs(Level::Standard, false)
        .is_ok_and(|programs| programs.iter().all(|program| apply_filter(program).is_ok()))
}
