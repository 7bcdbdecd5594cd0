//! Which processes the gateway has started, directly or through others: all that have it among their ancestors. It
//! adopts orphans ([`super::orphans`]), so a process that has lost its parent, left its session and its control group
//! and cleared its environment still does.

use parking_lot::Mutex;

use crate::process::stat::{self, Stat};

/// Attempts to follow a chain of parents: some of them may end meanwhile.
const ATTEMPTS: u32 = 5;
/// Longest chain of parents that is followed.
const MAX_DEPTH: u32 = 10_000;

/// The processes that the gateway has started.
#[derive(Debug)]
pub(super) struct Descendants {
    gateway: i32,
    /// The children that this process had before it became the gateway, as a shell script that ends in `exec metagate`
    /// may have: id and start time. What they do, the operator has asked for.
    inherited: Vec<(i32, u64)>,
    /// The gateway that this one takes over from: its workers are functions too.
    predecessor: Mutex<Option<Predecessor>>,
}

#[derive(Debug, Clone, Copy)]
struct Predecessor {
    pid: i32,
    started: u64,
}

impl Predecessor {
    fn is_alive(self) -> bool {
        stat::of(self.pid).is_some_and(|process| process.started == self.started && !process.is_zombie())
    }
}

impl Descendants {
    /// Those that this process, the gateway, will start from now on.
    pub(super) fn from_now_on() -> Self {
        let inherited = stat::children_of_this_process().map(|(pid, child)| (pid, child.started)).collect();
        Self { gateway: i32::try_from(std::process::id()).unwrap_or(0), inherited, predecessor: Mutex::new(None) }
    }

    /// Counts the children of another gateway as well, until that has ended and they were ended too: then none.
    pub(super) fn follow_predecessor(&self, pid: Option<i32>) {
        // One that has ended already has started at no time of now.
        let started = |pid| stat::of(pid).map_or(0, |process| process.started);
        *self.predecessor.lock() = pid.map(|pid| Predecessor { pid, started: started(pid) });
    }

    /// Whether the gateway that is followed runs.
    pub(super) fn has_predecessor(&self) -> bool {
        self.predecessor.lock().is_some_and(Predecessor::is_alive)
    }

    /// Whether a process is one of them; none if that cannot be found out.
    pub(super) fn contains(&self, pid: i32) -> Option<bool> {
        let predecessor = *self.predecessor.lock();
        // Once the predecessor has ended, its children are those of process 1, like those of others.
        let is_certain = |found: &bool| *found || predecessor.is_none_or(Predecessor::is_alive);
        (0..ATTEMPTS).find_map(|_| self.follow(pid, predecessor, &stat::of).filter(is_certain))
    }

    /// Follows the parents of a process; none if a process of the chain ends meanwhile.
    fn follow(
        &self,
        mut pid: i32,
        predecessor: Option<Predecessor>,
        stat: &dyn Fn(i32) -> Option<Stat>,
    ) -> Option<bool> {
        let mut process = stat(pid)?;
        for _ in 0..MAX_DEPTH {
            if process.parent == self.gateway {
                return Some(!self.inherited.contains(&(pid, process.started)));
            }
            if predecessor.is_some_and(|predecessor| predecessor.pid == process.parent) {
                // This gateway itself is one of its children.
                return Some(pid != self.gateway);
            }
            if process.parent == 0 {
                return Some(false);
            }
            let parent = stat(process.parent)?;
            // The parent has ended, and its id belongs to another process.
            if parent.started > process.started {
                return None;
            }
            (pid, process) = (process.parent, parent);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows process 9 in a table of id, parent and start time; the gateway is process 5.
    fn follow(table: &[(i32, i32, u64)]) -> Option<bool> {
        let stat = |wanted| {
            let (_, parent, started) = table.iter().find(|(pid, ..)| *pid == wanted)?;
            Stat::parse(&format!("{wanted} (x) S {parent}{} {started}", " 0".repeat(17)))
        };
        let predecessor = Some(Predecessor { pid: 4, started: 40 });
        Descendants { gateway: 5, inherited: vec![(6, 60)], predecessor: Mutex::default() }.follow(
            9,
            predecessor,
            &stat,
        )
    }

    #[test]
    fn a_process_below_the_gateway_is_a_descendant() {
        assert_eq!(follow(&[(9, 7, 90), (7, 5, 70), (5, 1, 50), (1, 0, 1)]), Some(true));
        assert_eq!(follow(&[(9, 5, 90)]), Some(true));
    }

    #[test]
    fn other_processes_are_none() {
        assert_eq!(follow(&[(9, 7, 90), (7, 1, 70), (1, 0, 1)]), Some(false));
        assert_eq!(follow(&[(9, 0, 90)]), Some(false), "its parent is in another namespace");
    }

    #[test]
    fn a_child_from_before_the_gateway_is_none_but_its_ids_next_owner_is() {
        assert_eq!(follow(&[(9, 6, 90), (6, 5, 60)]), Some(false));
        assert_eq!(follow(&[(9, 6, 90), (6, 5, 61)]), Some(true));
    }

    #[test]
    fn the_workers_of_the_gateway_before_are_descendants_and_programs_beside_it_are_none() {
        assert_eq!(follow(&[(9, 7, 90), (7, 4, 70)]), Some(true));
        assert_eq!(follow(&[(9, 8, 90), (8, 1, 80), (5, 4, 50), (1, 0, 1)]), Some(false));
    }

    #[test]
    fn a_chain_that_changes_meanwhile_has_no_answer() {
        assert_eq!(follow(&[(9, 7, 90)]), None, "the parent has ended");
        assert_eq!(follow(&[(9, 7, 90), (7, 1, 91), (1, 0, 1)]), None, "the parent's id was used again");
        assert_eq!(follow(&[(9, 7, 90), (7, 9, 90)]), None, "a circle");
    }
}
