//! Loading while requests are served: on one core at most, and behind everything else.

use repserve_runtime::only_when_idle;

/// Added to the thread's niceness, for where the system has nothing that stands further back: well beyond that of the scheduler's workers, and
/// still enough to come to an end while all cores compute.
const NICENESS: i32 = 12;

/// Makes the calling thread, and those that it starts from now on, stand back: one core, and that only while nothing else wants it. Where
/// all cores compute it gets on while workers make room ([`WorkerPool::make_room`](repserve_scheduler::WorkerPool::make_room)). For good: a process
/// without privileges cannot raise a priority again.
pub fn stand_back() {
    // Where the system does not allow it, loading competes as an equal.
    let _ = rustix::process::nice(NICENESS);
    only_when_idle();
    #[cfg(target_os = "linux")]
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None)
        && let Some(last) = (0..rustix::thread::CpuSet::MAX_CPU)
            .rev()
            .find(|core| allowed.is_set(*core))
    {
        let mut one = rustix::thread::CpuSet::new();
        one.set(last);
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn threads_that_stand_back_share_one_core() {
        let cores = std::thread::spawn(|| {
            super::stand_back();
            let child = std::thread::spawn(|| rustix::thread::sched_getaffinity(None).unwrap().count());
            child.join().unwrap()
        });
        assert_eq!(cores.join().unwrap(), 1);
        let before = rustix::thread::sched_getaffinity(None).unwrap().count();
        assert!(before >= 1);
    }
}
