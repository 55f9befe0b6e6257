//! How often models are read and written, for callers that promise to do so once and test it.

use std::cell::Cell;

/// Calls so far on this thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Models that were read, or begun to be.
    pub read: usize,
    /// Models that were written.
    pub written: usize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { read: 0, written: 0 }) };
}

/// What this thread has read and written so far.
pub fn counts() -> Counts {
    COUNTS.get()
}

pub(super) fn reading() {
    let counts = COUNTS.get();
    COUNTS.set(Counts {
        read: counts.read + 1,
        ..counts
    });
}

pub(super) fn writing() {
    let counts = COUNTS.get();
    COUNTS.set(Counts {
        written: counts.written + 1,
        ..counts
    });
}
