//! The priority of threads that do large work which is no inference.

use std::cell::Cell;

/// That of the scheduler's workers, with which such work shares the cores.
const NICENESS: i32 = 5;

thread_local! {
    static RANKED: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread, of the runtime's pool for work that blocks, the priority of the scheduler's workers, so that connections are served
/// meanwhile. For good: a process without privileges cannot raise a priority again.
pub(crate) fn rank_with_workers() {
    if !RANKED.replace(true) {
        // Where it cannot be set, connections are only served later.
        let _ = rustix::process::nice(NICENESS);
    }
}
