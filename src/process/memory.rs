//! The memory of the machine that the gateway runs on.

use std::fs;

/// Files with the limit of memory of the group that a container is, for version 2 and 1 of control groups.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Bytes of memory that the machine, or the container, has.
#[must_use]
pub fn of_machine() -> u64 {
    let machine = rustix::system::sysinfo();
    let whole = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    // A group without a limit has "max" or a number beyond any machine.
    let limits = LIMITS.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.fold(whole, u64::min)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_memory() {
        assert!((64 << 20..1 << 50).contains(&super::of_machine()));
    }
}
