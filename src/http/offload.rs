//! Work on large bodies, away from the threads that serve connections.

use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use super::error::Problem;

/// Work on more than this many bytes leaves the threads that serve connections.
pub(super) const INLINE_BYTES_MAX: usize = 16 << 10;
/// Added to the niceness of the threads that do it, so that connections are served meanwhile.
const NICENESS: i32 = 5;

/// One job for each core: more at a time would only take cores from inference, and memory.
static JOBS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))));

thread_local! {
    static NICE: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, which goes over about `bytes` bytes: here where they are few, else on another thread when it is its turn. A job
/// that has begun is finished also where its caller has stopped waiting.
pub(super) async fn offload<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    let Ok(turn) = Arc::clone(&JOBS).acquire_owned().await else {
        return Err(Problem::internal());
    };
    let job = move || {
        if !NICE.replace(true) {
            // Where it cannot be set, connections are only served later.
            let _ = rustix::process::nice(NICENESS);
        }
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(job).await.map_err(|error| {
        tracing::error!(%error, "work on a body or a response panicked");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use super::*;

    #[tokio::test]
    async fn only_large_work_leaves_the_thread() {
        let here = current().id();
        assert_eq!(offload(INLINE_BYTES_MAX, || current().id()).await.unwrap(), here);
        assert_ne!(offload(INLINE_BYTES_MAX + 1, || current().id()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_turn_back() {
        for _ in 0..2 * available_parallelism().unwrap().get() {
            assert!(offload(usize::MAX, || panic!("by intent")).await.is_err());
        }
        assert_eq!(offload(usize::MAX, || 7).await.unwrap(), 7);
    }
}
