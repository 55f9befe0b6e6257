//! Which threads get a core first.
#![allow(unsafe_code, reason = "no safe function sets a scheduling policy")]

/// The highest niceness.
const NICENESS: i32 = 19;

/// Makes the thread leave the cores to others that want them.
pub fn idle_priority() {
    // Where it is refused the thread competes like any other.
    let _ = rustix::process::nice(NICENESS);
}

/// Makes the calling thread, and those that it starts from now on, run only while nothing else wants their core (Linux's `SCHED_IDLE`). For good: a
/// process without privileges cannot leave that policy again. Such a thread does not get on at all where all cores compute; others must pause
/// for it. Does nothing where the system has no such policy or refuses it.
pub fn only_when_idle() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: zero is a valid value of a struct of integers, and the priority that this policy takes.
        let priority: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: 0 is the calling thread; the pointer is to a value that lives through the call, which only reads it.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const priority) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn threads_of_a_thread_that_only_runs_when_idle_do_so_too() {
        let policies = std::thread::spawn(|| {
            super::only_when_idle();
            let child = std::thread::spawn(policy);
            [policy(), child.join().unwrap()]
        });
        assert_eq!(policies.join().unwrap(), [libc::SCHED_IDLE; 2]);
        assert_eq!(policy(), libc::SCHED_OTHER);
    }

    /// That of the calling thread.
    fn policy() -> libc::c_int {
        // SAFETY: the call takes a number and returns one.
        unsafe { libc::sched_getscheduler(0) }
    }
}
