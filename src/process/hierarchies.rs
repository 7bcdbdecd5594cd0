//! The hierarchies of control groups: where they are mounted, the group in each that this process is in, and the memory
//! that it leaves.

use std::fs;
use std::path::{Path, PathBuf};

/// The share of this machine's memory that one process tree may use unless a limit is set.
const MEMORY_SHARE: u64 = 4;

/// Bytes of memory that a process tree may use unless a limit is set, where control groups can limit it.
#[must_use]
pub fn usual_memory() -> u64 {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    memory_of_machine(&mounts, &own) / MEMORY_SHARE
}

/// The memory of this machine, or the limit of the group that this process is in, in bytes.
fn memory_of_machine(mounts: &str, own: &str) -> u64 {
    let machine = rustix::system::sysinfo();
    let all = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let files = [
        unified_parent(mounts, own).map(|group| group.join("memory.max")),
        v1_parent(mounts, own, "memory").map(|group| group.join("memory.limit_in_bytes")),
    ];
    let limits = files.into_iter().flatten().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.fold(all, u64::min)
}

/// The group of this process in the hierarchy of v2.
pub(super) fn unified_parent(mounts: &str, own: &str) -> Option<PathBuf> {
    let mount = mount_point(mounts, |kind, _| kind == "cgroup2")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(&mount).join(path.trim_start_matches('/')))
}

/// The group of this process in the v1 hierarchy of a controller.
pub(super) fn v1_parent(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let mount = mount_point(mounts, |kind, options| kind == "cgroup" && options.split(',').any(|o| o == controller))?;
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then_some(path)
    })?;
    Some(Path::new(&mount).join(path.trim_start_matches('/')))
}

/// Where a file system of the wanted kind is mounted. Format: `proc(5)`, `/proc/self/mounts`.
fn mount_point(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        wanted(kind, options).then(|| point.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";

    #[test]
    fn the_groups_parents_are_found_in_both_hierarchies() {
        let own = "4:memory:/box\n0::/\n";
        assert_eq!(unified_parent(MOUNTS, own), Some(PathBuf::from("/sys/fs/cgroup/unified/")));
        assert_eq!(v1_parent(MOUNTS, own, "memory"), Some(PathBuf::from("/sys/fs/cgroup/memory/box")));
        assert_eq!(v1_parent(MOUNTS, own, "pids"), None);
        assert_eq!(v1_parent("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", own, "memory"), None);
    }
}
