//! Which threads get a core first.

/// The highest niceness.
const NICENESS: i32 = 19;

/// Makes the calling thread leave the cores to others that want them.
pub fn idle_priority() {
    // Where it is refused the thread competes like any other.
    let _ = rustix::process::nice(NICENESS);
}
