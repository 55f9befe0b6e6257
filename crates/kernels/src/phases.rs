//! Phases of tasks, each of which begins when all of the one before are done, on threads that are entered once.
//!
//! Entering the executor's threads for each phase takes longer than a small layer does. Here they stay until the last phase is done. No thread
//! waits for one that has not come: it waits only for tasks that another has begun.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{hint, thread};

use super::executor::Executor;

/// How often a thread that waits looks before it lets others have its core.
const LOOKS: usize = 200;

/// Calls `task(phase, 0)` … `task(phase, counts[phase] - 1)` of each phase, each exactly once, in any order within the phase.
///
/// Threads begin at different places of a phase, the same in each: what a thread has written it likely reads again.
pub(super) fn in_phases(executor: &dyn Executor, counts: &[usize], task: &(dyn Fn(usize, usize) + Sync)) {
    let threads = executor.threads();
    if threads < 2 {
        for (phase, count) in counts.iter().enumerate() {
            (0..*count).for_each(|i| task(phase, i));
        }
        return;
    }
    let phases: Vec<Phase> = counts.iter().map(|count| Phase::new(*count, threads)).collect();
    executor.run(threads, &|worker| {
        for (number, phase) in phases.iter().enumerate() {
            phase.work(worker, &|i| task(number, i));
            phase.wait();
        }
    });
}

struct Phase {
    /// The tasks, in as many parts as there are threads.
    parts: Vec<Part>,
    left: Alone,
}

struct Part {
    next: Alone,
    end: usize,
}

/// A counter with a cache line of its own.
#[repr(align(64))]
struct Alone(AtomicUsize);

/// A task that has begun, which is done also where it panics.
struct Begun<'a>(&'a Alone);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

impl Phase {
    fn new(count: usize, threads: usize) -> Self {
        let part = |thread| Part {
            next: Alone(AtomicUsize::new(thread * count / threads)),
            end: (thread + 1) * count / threads,
        };
        Self {
            parts: (0..threads).map(part).collect(),
            left: Alone(AtomicUsize::new(count)),
        }
    }

    /// Does tasks until all have begun, first those of the worker's own part.
    fn work(&self, worker: usize, task: &dyn Fn(usize)) {
        let (before, own) = self.parts.split_at(worker % self.parts.len());
        for part in own.iter().chain(before) {
            loop {
                let next = part.next.0.fetch_add(1, Ordering::Relaxed);
                if next >= part.end {
                    break;
                }
                let _begun = Begun(&self.left);
                task(next);
            }
        }
    }

    /// Until those that others have begun are done, too.
    fn wait(&self) {
        let mut looks = 0;
        while self.left.0.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks < LOOKS {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Sequential;
    use crate::tests::threads::Threads;

    /// One thread that says it were more, as a pool does whose other threads are busy.
    struct Deserted(usize);

    impl Executor for Deserted {
        fn threads(&self) -> usize {
            self.0
        }

        fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..tasks).rev().for_each(task);
        }
    }

    #[track_caller]
    fn check(executor: &dyn Executor) {
        let counts = [5, 0, 1, 16, 3];
        let done = Mutex::new(Vec::new());
        in_phases(executor, &counts, &|phase, i| done.lock().unwrap().push((phase, i)));
        let done = done.into_inner().unwrap();
        assert!(done.is_sorted_by_key(|(phase, _)| *phase), "{done:?}");
        let mut sorted = done.clone();
        sorted.sort_unstable();
        let all = counts.iter().enumerate();
        let all: Vec<_> = all
            .flat_map(|(phase, count)| (0..*count).map(move |i| (phase, i)))
            .collect();
        assert_eq!(sorted, all);
    }

    #[test]
    fn every_task_is_done_once_and_no_phase_begins_before_the_last_has_ended() {
        check(&Sequential);
        for threads in [2, 3, 8] {
            check(&Threads(threads));
            check(&Deserted(threads));
        }
    }
}
