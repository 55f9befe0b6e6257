//! How a layer's independent tasks reach threads. The kernels start none of their own.

/// Runs independent tasks, each exactly once, on one or several threads.
pub trait Executor {
    /// Threads that may run tasks at the same time; at least 1. It only guides how finely work is cut.
    fn threads(&self) -> usize;

    /// Calls `task(0)` … `task(tasks - 1)`, in any order, and returns when all are done.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Runs every task on the calling thread, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequential;

impl Executor for Sequential {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}
