//! The hierarchies of control groups: where they are mounted, the group in each that this process is in, and the memory
//! that it leaves.

use std::fs;
use std::path::{Path, PathBuf};

/// The share of this machine's memory that one process tree may use unless a limit is set.
const MEMORY_SHARE: u64 = 4;

/// The hierarchies as this process sees them.
#[derive(Debug)]
pub struct Hierarchies {
    mounts: String,
    /// The groups that this process is in.
    own: String,
}

impl Hierarchies {
    /// Those of now.
    #[must_use]
    pub fn current() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { mounts: read("/proc/self/mounts"), own: read("/proc/self/cgroup") }
    }

    /// Bytes of memory that a process tree may use unless a limit is set, where control groups can limit it.
    #[must_use]
    pub fn usual_memory(&self) -> u64 {
        self.memory_of_machine() / MEMORY_SHARE
    }

    /// The memory of this machine, or the limit of the group that this process is in, in bytes.
    fn memory_of_machine(&self) -> u64 {
        let machine = rustix::system::sysinfo();
        let all = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
        let files = [
            self.unified_parent().map(|group| group.join("memory.max")),
            self.v1_parent("memory").map(|group| group.join("memory.limit_in_bytes")),
        ];
        let limits = files.into_iter().flatten().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        limits.fold(all, u64::min)
    }

    /// The group of this process in the hierarchy of v2.
    pub(super) fn unified_parent(&self) -> Option<PathBuf> {
        let mount = mount_point(&self.mounts, |kind, _| kind == "cgroup2")?;
        let path = self.own.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(Path::new(&mount).join(path.trim_start_matches('/')))
    }

    /// The group of this process in the v1 hierarchy of a controller.
    pub(super) fn v1_parent(&self, controller: &str) -> Option<PathBuf> {
        let is_of = |options: &str| options.split(',').any(|option| option == controller);
        let mount = mount_point(&self.mounts, |kind, options| kind == "cgroup" && is_of(options))?;
        let path = self.own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_of(controllers).then_some(path)
        })?;
        Some(Path::new(&mount).join(path.trim_start_matches('/')))
    }
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
        let of = |mounts: &str| Hierarchies { mounts: mounts.to_owned(), own: "4:memory:/box\n0::/\n".to_owned() };
        assert_eq!(of(MOUNTS).unified_parent(), Some(PathBuf::from("/sys/fs/cgroup/unified/")));
        assert_eq!(of(MOUNTS).v1_parent("memory"), Some(PathBuf::from("/sys/fs/cgroup/memory/box")));
        assert_eq!(of(MOUNTS).v1_parent("pids"), None);
        assert_eq!(of("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0").v1_parent("memory"), None);
    }
}
