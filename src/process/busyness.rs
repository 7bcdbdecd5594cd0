//! How busy process trees are, and whether they need groups that share the processors between them.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::stat::{self, Stat};

const THREADS: &str = "cgroup.threads";
/// Looks in a row that find the machine busy before trees get groups: a worker that loads is busy for a moment.
const BUSY_LOOKS: u32 = 2;
/// Looks in a row that find trees calm before they leave them.
const CALM_LOOKS: u32 = 5;

/// How busy the process trees were at the last looks.
#[derive(Debug, Default)]
pub struct Looks {
    last: Option<(Times, Instant)>,
    busy: u32,
    calm: u32,
    /// Whether no process may be left in a group that it does not need.
    pub(super) are_out: bool,
}

/// Times of the process trees since their group was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The time that the processors have spent on them: `usage_usec` in `cpu.stat`.
    used: Duration,
    /// How long one of their threads at least has waited for a processor: `some` in `cpu.pressure`. Some kernels do not
    /// count it.
    waited: Option<Duration>,
}

impl Looks {
    /// Adds a look. `are_many` says whether there are more busy threads than processors; it is asked if that may be.
    pub(super) fn add(&mut self, times: Times, are_many: impl FnOnce() -> bool) {
        self.add_at(times, Instant::now(), are_many);
    }

    fn add_at(&mut self, times: Times, now: Instant, are_many: impl FnOnce() -> bool) {
        let Some((before, then)) = self.last.replace((times, now)) else { return };
        let elapsed = now.saturating_duration_since(then);
        let used = times.used.saturating_sub(before.used);
        let waited = times.waited.zip(before.waited).map(|(now, before)| now.saturating_sub(before));
        // Other programs may leave little to trees that would use much: what they use does not show what they need.
        let may_be_many = used * 4 > elapsed && waited.is_none_or(|waited| waited * 4 > elapsed);
        self.busy = if may_be_many && are_many() { self.busy.saturating_add(1) } else { 0 };
        let is_calm = used * 2 < elapsed * processor_count() && waited.is_some_and(|waited| waited * 2 < elapsed);
        self.calm = if is_calm { self.calm.saturating_add(1) } else { 0 };
    }

    /// Whether trees need groups, and whether they have them now.
    pub(super) fn decide(&self, shared: bool) -> bool {
        if shared { self.calm < CALM_LOOKS } else { self.busy >= BUSY_LOOKS }
    }
}

impl Times {
    /// The times of a group of v2 and those below it, if they are counted.
    pub(super) fn of(group: &Path) -> Option<Self> {
        let number = |file: &str, before: &str| {
            let text = fs::read_to_string(group.join(file)).ok()?;
            let rest = &text[text.find(before)? + before.len()..];
            Some(Duration::from_micros(rest.split_whitespace().next()?.parse().ok()?))
        };
        Some(Self { used: number("cpu.stat", "usage_usec ")?, waited: number("cpu.pressure", "total=") })
    }
}

/// Whether more threads of all trees run, or wait for a processor, than there are processors.
pub(super) fn has_many_busy_threads(unified: &Path) -> bool {
    let threads = trees_in(unified).flat_map(|tree| lines(&tree.join(THREADS))).filter_map(|id| id.parse().ok());
    let busy = threads.filter(|thread| stat::of(*thread).is_some_and(Stat::is_runnable));
    let enough = processor_count() as usize + 1;
    busy.take(enough).count() == enough
}

/// The groups of all trees.
pub(super) fn trees_in(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The ids in a file of a group.
pub(super) fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

pub(super) fn processor_count() -> u32 {
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(count).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a second apart, at trees that use this share of the machine each time and wait for it half as long.
    fn looks(times: u32, tenths: u32) -> Looks {
        let start = Instant::now();
        let mut looks = Looks::default();
        let second = Duration::from_secs(1);
        for time in 0..=times {
            let used = second * processor_count() * tenths / 10 * time;
            let waited = Some(second * tenths / 20 * time);
            looks.add_at(Times { used, waited }, start + second * time, || true);
        }
        looks
    }

    #[test]
    fn trees_share_once_they_have_many_busy_threads_at_two_looks() {
        assert!(looks(2, 10).decide(false));
        assert!(!looks(1, 10).decide(false));
        assert!(!looks(20, 1).decide(false), "threads that rarely run are not counted");
    }

    #[test]
    fn trees_share_until_they_use_less_than_half_of_the_machine_for_five_looks() {
        assert!(looks(4, 4).decide(true));
        assert!(!looks(5, 4).decide(true));
        assert!(looks(20, 6).decide(true));
    }

    #[test]
    fn trees_that_wait_for_other_programs_share_on() {
        let mut looks = looks(10, 1);
        assert!(!looks.decide(true));
        let (last, then) = looks.last.unwrap();
        let second = Duration::from_secs(1);
        looks.add_at(
            Times { used: last.used, waited: last.waited.map(|waited| waited + second) },
            then + second,
            || true,
        );
        assert!(looks.decide(true));
        looks.add_at(Times { used: last.used, waited: None }, then + 2 * second, || true);
        assert!(looks.decide(true), "it cannot be known");
    }
}
