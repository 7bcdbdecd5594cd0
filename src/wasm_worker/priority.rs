//! The priority of threads: a call that takes long gives way to everything else on the machine, the gateway first of all. A
//! thread cannot take its priority back, so one that has given way runs no other call.

use std::cell::Cell;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The lowest.
const LOWEST: i32 = 19;

thread_local! {
    static GAVE_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Gives the thread that asks the lowest priority.
pub(super) fn give_way() {
    if !GAVE_WAY.replace(true) {
        // Linux has priorities of threads, whatever the name of the call says. Without it the call only goes on as it was.
        let _as_it_was = setpriority_process(Some(gettid()), LOWEST);
    }
}

/// Whether the thread that asks has given way.
pub(super) fn gave_way() -> bool {
    GAVE_WAY.get()
}
