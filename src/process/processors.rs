//! Shares of the processors: control groups for cpu, which process trees are in only while they need them. The kernel
//! switches between two processes that take turns, as the gateway and a worker do at each call, faster in one group
//! than in two. So trees stay in the gateway's group until together they have more busy threads than there are
//! processors, and return when they are calm. A tree with a weight of its own puts all of them into groups for as long
//! as it lives.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::process::busyness::{Looks, Times, has_many_busy_threads, lines, processor_count, trees_in};

/// The weight of a process tree unless it is set, and the same as v1 counts it.
const WEIGHT: u32 = 100;
const WEIGHT_V1: u64 = 1024;
/// The file with the controllers that a group of v2 passes on to its children.
const CHILDREN: &str = "cgroup.subtree_control";
const MEMBERS: &str = "cgroup.procs";
/// Passes over the members of a tree, which may start processes while they are moved.
const PASSES: u32 = 5;

/// Where the groups of process trees are.
#[derive(Debug)]
pub enum Place {
    /// In a hierarchy of v1 of their own: processes are moved into groups there.
    Apart {
        /// The group of the gateway.
        own: PathBuf,
        /// The one below it that has the groups of the trees.
        trees: PathBuf,
    },
    /// The groups of v2 that trees are in anyway: they get the controller.
    Unified(PathBuf),
}

/// The processors of this machine, shared by process trees.
#[derive(Debug, Default)]
pub struct Processors {
    place: Option<Place>,
    /// The v2 group that contains those of all trees. Its `cpu.stat` counts their time; without it trees always share.
    unified: Option<PathBuf>,
    /// Whether trees have groups. Held while the group of a tree is made.
    shared: Mutex<bool>,
    /// Cloned for each tree with a weight of its own.
    weighted: Arc<()>,
}

/// The share of one process tree.
#[derive(Debug, Default)]
pub struct Share {
    /// Its group in the hierarchy of cpu, now or later.
    pub group: Option<PathBuf>,
    /// Whether its first process joins that group.
    pub joins: bool,
    _weighted: Option<Arc<()>>,
}

impl Processors {
    /// Shares the processors by groups at `place`, if there is one, between the trees whose groups are in `unified`.
    #[must_use]
    pub fn new(place: Option<Place>, unified: Option<&Path>) -> Self {
        if let Some(place) = &place {
            // All trees together weigh as much as a busy process on each processor.
            let weight = WEIGHT.saturating_mul(processor_count()).min(10_000);
            let _stays_as_it_is = place.set_weight(None, weight);
        }
        let unified = unified.filter(|group| Times::of(group).is_some()).map(Path::to_owned);
        let always = unified.is_none();
        if let Some(Place::Unified(group)) = place.as_ref().filter(|_| !always) {
            let _stays_on = fs::write(group.join(CHILDREN), "-cpu");
        }
        Self { place, unified, shared: Mutex::new(always), weighted: Arc::default() }
    }

    /// Whether trees can be given a share.
    #[must_use]
    pub fn can_be_shared(&self) -> bool {
        self.place.is_some()
    }

    /// The group of v1 that has the groups of the trees.
    #[must_use]
    pub fn group(&self) -> Option<&Path> {
        let Some(Place::Apart { trees, .. }) = &self.place else { return None };
        Some(trees)
    }

    /// Gives the tree `id` its share. The v2 group of the tree exists already.
    ///
    /// # Errors
    ///
    /// Its group cannot be made, or does not take the weight.
    pub fn share(&self, id: u64, weight: Option<u32>) -> io::Result<Share> {
        let Some(place) = &self.place else { return Ok(Share::default()) };
        let weight = weight.filter(|weight| *weight != WEIGHT);
        let weighted = weight.map(|_| Arc::clone(&self.weighted));
        let shared = self.shared.lock();
        let joins = *shared || weight.is_some();
        let mut share = Share { group: None, joins: false, _weighted: weighted };
        match place {
            Place::Apart { trees, .. } => {
                let group = trees.join(id.to_string());
                // A look may have made it already.
                match if joins { fs::create_dir(&group) } else { Ok(()) } {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                share = Share { group: Some(group), joins, ..share };
            }
            Place::Unified(group) if joins => fs::write(group.join(CHILDREN), "+cpu")?,
            Place::Unified(_) => {}
        }
        if let Some(weight) = weight {
            place.set_weight(Some(id), weight).inspect_err(|_| share.undo())?;
        }
        Ok(share)
    }

    /// Looks how busy the trees are, and gives them groups or takes them away. Called every second; blocks.
    pub fn look(&self, looks: &mut Looks) {
        let (Some(place), Some(unified)) = (&self.place, &self.unified) else { return };
        let Some(times) = Times::of(unified) else { return };
        looks.add(times, || has_many_busy_threads(unified));
        let mut shared = self.shared.lock();
        let needed = Arc::strong_count(&self.weighted) > 1 || looks.decide(*shared);
        if needed != *shared {
            *shared = needed;
            looks.are_out = false;
            tracing::debug!(needed, "shares of the processors");
            if let Place::Unified(group) = place {
                let _next_time = fs::write(group.join(CHILDREN), if needed { "+cpu" } else { "-cpu" });
            }
        }
        // Moving takes milliseconds for each process, and the gateway's thread may wait for the lock.
        drop(shared);
        if let Place::Apart { own, trees } = place {
            if needed {
                move_in(unified, trees);
            } else if !looks.are_out {
                looks.are_out = move_out(trees, own);
            }
        }
    }
}

impl Place {
    /// Sets the weight of a tree, or of all together.
    fn set_weight(&self, id: Option<u64>, weight: u32) -> io::Result<()> {
        let (group, file, weight) = match self {
            Self::Apart { trees, .. } => {
                let weight = (u64::from(weight) * WEIGHT_V1 / u64::from(WEIGHT)).max(2);
                (trees, "cpu.shares", weight)
            }
            Self::Unified(group) => (group, "cpu.weight", u64::from(weight)),
        };
        let group = id.map_or_else(|| group.clone(), |id| group.join(id.to_string()));
        fs::write(group.join(file), weight.to_string())
    }
}

impl Share {
    fn undo(&self) {
        if let Some(group) = &self.group {
            let _gone = fs::remove_dir(group);
        }
    }
}

/// Moves the processes of all trees into the groups of their trees for cpu.
fn move_in(unified: &Path, trees: &Path) {
    for tree in trees_in(unified) {
        let group = trees.join(tree.file_name().unwrap_or_default());
        let _may_exist = fs::create_dir(&group);
        for _ in 0..PASSES {
            let inside = lines(&group.join(MEMBERS));
            let outside: Vec<_> = lines(&tree.join(MEMBERS)).into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                break;
            }
            for pid in outside {
                let _ended = fs::write(group.join(MEMBERS), pid);
            }
        }
        // Whoever ends a tree removes the group for cpu last, and may have done so before it was made here.
        if !tree.exists() {
            let _gone = fs::remove_dir(&group);
        }
    }
}

/// Moves all processes back into the gateway's group. Returns whether there was none. The groups stay: the first
/// process of a tree may be about to join its own.
fn move_out(trees: &Path, own: &Path) -> bool {
    let inside: Vec<_> = trees_in(trees).flat_map(|group| lines(&group.join(MEMBERS))).collect();
    for pid in &inside {
        let _ended = fs::write(own.join(MEMBERS), pid);
    }
    inside.is_empty()
}
