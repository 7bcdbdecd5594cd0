//! The priority of threads. A call that takes long runs at the lowest priority, so that the gateway and short calls
//! stay fast. An unprivileged thread cannot raise its priority again, so a lowered thread ends after its call.

use std::cell::Cell;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The lowest priority ("nice" value) of Linux.
const LOWEST: i32 = 19;

thread_local! {
    static LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Gives the current thread the lowest priority.
pub(super) fn lower() {
    if !LOWERED.replace(true) {
        // On Linux a thread id sets the priority of that thread alone, despite the name of the call. If it fails, the
        // call goes on at its old priority.
        let _unchanged = setpriority_process(Some(gettid()), LOWEST);
    }
}

/// Whether the current thread has lowered its priority.
pub(super) fn is_lowered() -> bool {
    LOWERED.get()
}
