//! Work on large bodies, away from the threads that serve connections.

mod turns;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use tokio::sync::oneshot;

use self::turns::Turns;
use super::client::Client;
use super::error::Problem;
use crate::niceness::rank_with_workers;

/// Work on more than this many bytes leaves the threads that serve connections.
pub(super) const INLINE_BYTES_MAX: usize = 16 << 10;

/// One job for each core: more at a time would only take cores from inference, and memory. A client has all of them but one, so that what
/// it sends does not hold up others.
static JOBS: LazyLock<Mutex<Turns<Client, oneshot::Sender<Turn>>>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Mutex::new(Turns::new(cores, (cores - 1).max(1)))
});

/// Whose turn it is, and who waits for it.
type Granted = Option<(Client, oneshot::Sender<Turn>)>;

fn jobs() -> MutexGuard<'static, Turns<Client, oneshot::Sender<Turn>>> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client's right to do a job; given on when dropped.
struct Turn(Option<Client>);

impl Turn {
    /// Waits until it is the turn of one more job of a client.
    async fn of(client: Client) -> Option<Self> {
        let (turn, mine) = oneshot::channel();
        let granted = jobs().wait(client, turn);
        give(granted);
        mine.await.ok()
    }
}

impl Turn {
    /// Who is next.
    fn end(&mut self) -> Granted {
        jobs().ended(self.0.take()?)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        give(self.end());
    }
}

/// Gives a turn to the first who still waits for it.
fn give(mut granted: Granted) {
    while let Some((client, waits)) = granted {
        let Err(mut turn) = waits.send(Turn(Some(client))) else {
            return;
        };
        granted = turn.end();
    }
}

/// Does `work` for a client, which goes over about `bytes` bytes: here where they are few, else on another thread when it is its turn. A job
/// that has begun is finished also where its caller has stopped waiting.
pub(super) async fn offload<T: Send + 'static>(
    client: Client,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    let Some(turn) = Turn::of(client).await else {
        return Err(Problem::internal());
    };
    let job = move || {
        rank_with_workers();
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
        assert_eq!(
            offload(Client::Unknown, INLINE_BYTES_MAX, || current().id())
                .await
                .unwrap(),
            here
        );
        assert_ne!(
            offload(Client::Unknown, INLINE_BYTES_MAX + 1, || current().id())
                .await
                .unwrap(),
            here
        );
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_turn_back() {
        let panics = || -> () { panic!("by intent") };
        for _ in 0..2 * available_parallelism().unwrap().get() {
            assert!(offload(Client::Unknown, usize::MAX, panics).await.is_err());
        }
        assert_eq!(offload(Client::Unknown, usize::MAX, || 7).await.unwrap(), 7);
    }
}
