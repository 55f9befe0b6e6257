//! One-core sessions that run at the same time, as they do under load.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use repserve_scheduler::{Session, SessionError};

use crate::cpu_time::Stopwatch;

/// What each session is to run.
struct Order<I> {
    batch: Arc<Vec<I>>,
    runs: usize,
}

/// What each run of a session took, in milliseconds of CPU time.
pub(super) type Times = Result<Vec<f64>, SessionError>;

/// Sessions with a thread each, which stays: what a thread allocates for its first run is not measured again.
pub(super) struct Crew<I> {
    sessions: Vec<(Sender<Order<I>>, Receiver<Times>)>,
}

impl<I: Sync + Send> Crew<I> {
    /// Does `work` with these sessions.
    pub(super) fn with<S, R>(sessions: &mut [S], work: impl FnOnce(&Self) -> R) -> R
    where
        S: Session<Input = I> + Send,
    {
        thread::scope(|scope| {
            let start = |session| {
                let (order, orders) = channel();
                let (answer, answers) = channel();
                scope.spawn(move || follow(session, &orders, &answer));
                (order, answers)
            };
            work(&Self {
                sessions: sessions.iter_mut().map(start).collect(),
            })
        })
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Runs `batch` that often on every session; the times of all of them.
    ///
    /// # Errors
    /// A session does not run.
    pub(super) fn run(&self, batch: &Arc<Vec<I>>, runs: usize) -> Times {
        for (orders, _) in &self.sessions {
            let batch = Arc::clone(batch);
            orders.send(Order { batch, runs }).map_err(|_| panicked())?;
        }
        let mut all = Vec::with_capacity(self.sessions.len() * runs);
        for (_, answers) in &self.sessions {
            all.extend(answers.recv().map_err(|_| panicked())??);
        }
        Ok(all)
    }
}

fn panicked() -> SessionError {
    SessionError("it panicked".to_owned())
}

fn follow<S: Session>(session: &mut S, orders: &Receiver<Order<S::Input>>, answer: &Sender<Times>) {
    for order in orders {
        if answer.send(repeat(session, &order.batch, order.runs)).is_err() {
            break;
        }
    }
}

/// Runs a batch that often; what each run took, in milliseconds of CPU time of this thread.
///
/// # Errors
/// The session does not run.
fn repeat<S: Session>(session: &mut S, batch: &[S::Input], runs: usize) -> Times {
    let run = |_| {
        let watch = Stopwatch::start();
        session.run(batch)?;
        Ok(watch.elapsed().cpu_ms)
    };
    (0..runs).map(run).collect()
}
