//! Changes of the code under test, in test builds only: faults that a simulation must find, and work that it runs on
//! its own thread. Nothing of this module is in a binary of metagate.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// A fault, of the kinds that are hard to find by reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A worker that becomes free does not get the call that waits for it.
    LostWakeUp,
    /// An answer that belongs to no call ends another call.
    DoubleAnswer,
    /// The seat of a supervisor that has ended stays in the table.
    LeakedSeat,
    /// Workers start although their files are those of another release.
    MixedRelease,
    /// Idle workers end although the pool has its minimum.
    ShrinkingPool,
    /// A trial that ended without a result is not given back.
    BurntTrial,
}

/// Plants a fault on this thread until the result is dropped.
pub(crate) fn plant(fault: Option<Fault>) -> Planted {
    PLANTED.set(fault);
    Planted
}

/// Whether this fault is planted on this thread.
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Has blocking work run on this thread, at the moment of its request, until the result is dropped.
pub(crate) fn run_inline() -> Inline {
    INLINE.set(true);
    Inline
}

/// Whether blocking work runs on this thread.
pub(crate) fn is_inline() -> bool {
    INLINE.get()
}

/// Removes the planted fault when it is dropped.
pub(crate) struct Planted;

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

/// Ends [`run_inline`] when it is dropped.
pub(crate) struct Inline;

impl Drop for Inline {
    fn drop(&mut self) {
        INLINE.set(false);
    }
}
