//! An executor with real threads.

use std::thread;

use crate::Executor;

/// A thread for each task.
pub(crate) struct Threads(pub(crate) usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || task(i));
            }
        });
    }
}
