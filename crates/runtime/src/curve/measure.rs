//! Measuring a [`Curve`]. Times are CPU time of the thread that calls a session, so that neither a quota nor other processes spoil them.
//!
//! A one-core session computes on that thread alone. A wide session's caller takes part in its run and, where it has nothing left to do,
//! spins until the others are done: its CPU time is the run's latency, less the time in which it had to wait for a core.

use std::time::Duration;

use repserve_scheduler::{Session, SessionError, Sessions};

use super::{Curve, Point, turns};
use crate::cpu_time::Stopwatch;
use crate::median::median;

/// Runs of one batch size: at least, and at most while time lasts.
const RUNS_MIN: usize = 3;
const RUNS_MAX: usize = 30;
/// Runs go on for this long whatever the budget says: a few short ones tell little, least of all of threads that have just started.
const SPENT_MS_MIN: f64 = 25.0;
const SPENT_MS_MAX: f64 = 100.0;

/// How often the wide session is tried where it seems not to pay: its threads may share a core until the system moves one.
const WIDE_ATTEMPTS: usize = 5;
/// Share of the narrow session's latency below which there is no doubt.
const WIDE_CLEAR: f64 = 0.9;

impl Curve {
    /// Runs batches of `item` in sizes 1, 2, 4, … up to `batch_max`, as long as larger ones gain and `budget`, in CPU time of one thread,
    /// lasts. Size 1 is always measured, which also warms every session up.
    ///
    /// # Errors
    /// A session does not run.
    pub fn measure<S>(
        sessions: &mut Sessions<S>,
        item: &S::Input,
        batch_max: usize,
        budget: Duration,
    ) -> Result<Self, SessionError>
    where
        S: Session + Send,
        S::Input: Clone + Sync,
    {
        let mut left = Budget(budget.as_secs_f64() * 1e3);
        let sizes = || std::iter::successors(Some(1usize), |n| n.checked_mul(2)).take_while(|n| *n <= batch_max.max(1));
        let mut curve = Self::default();
        for batch_size in sizes() {
            if !curve.narrow.is_empty() && !worth_measuring(&curve.narrow, batch_size, left, sessions.wide.is_some()) {
                break;
            }
            let batch = vec![item.clone(); batch_size];
            let latency_ms = together(&mut sessions.narrow, &batch, &mut left)?;
            curve.narrow.push(Point { batch_size, latency_ms });
            let last_two = curve.narrow.len().saturating_sub(2)..;
            turns::settle(&mut curve.narrow[last_two], |batch_size| {
                let batch = vec![item.clone(); batch_size];
                // As few runs as tell something: there are several turns.
                let mut few = Budget(0.0);
                let again = (!left.is_spent()).then(|| together(&mut sessions.narrow, &batch, &mut few));
                left.0 += few.0;
                again.transpose()
            })?;
        }
        if let Some(wide) = sessions.wide.as_mut() {
            for batch_size in sizes() {
                let batch = vec![item.clone(); batch_size];
                let mut latency_ms = alone(wide, &batch, &mut left)?;
                for _ in 1..WIDE_ATTEMPTS {
                    if batch_size > 1 || latency_ms < curve.narrow[0].latency_ms * WIDE_CLEAR {
                        break;
                    }
                    together(&mut sessions.narrow, &batch, &mut left)?;
                    latency_ms = latency_ms.min(alone(wide, &batch, &mut left)?);
                }
                curve.wide.push(Point { batch_size, latency_ms });
                if latency_ms >= curve.narrow[0].latency_ms || left.is_spent() {
                    break;
                }
            }
        }
        Ok(curve)
    }
}

/// Milliseconds of CPU time that measuring may still take.
#[derive(Debug, Clone, Copy)]
struct Budget(f64);

impl Budget {
    fn is_spent(self) -> bool {
        self.0 <= 0.0
    }
}

/// Whether the last doubling gained something and the next one fits into the time that is left, with half of it kept for
/// the wide session.
fn worth_measuring(narrow: &[Point], next: usize, left: Budget, wide: bool) -> bool {
    let gained = match narrow {
        [.., before, last] => last.rate() >= before.rate() * 0.97,
        _ => true,
    };
    let expected_ms = narrow
        .last()
        .map_or(0.0, |p| p.latency_ms / p.batch_size as f64 * next as f64);
    gained && expected_ms * RUNS_MIN as f64 <= if wide { left.0 / 2.0 } else { left.0 }
}

/// All sessions at the same time, a thread each; the median of all runs.
fn together<S>(sessions: &mut [S], batch: &[S::Input], left: &mut Budget) -> Result<f64, SessionError>
where
    S: Session + Send,
    S::Input: Sync,
{
    let budget = *left;
    let runs = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|s| scope.spawn(move || repeat(s, batch, budget)))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            let runs = thread.join();
            runs.unwrap_or_else(|_| Err(SessionError("it panicked".to_owned())))
        });
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    left.0 -= runs.iter().map(|runs| runs.spent_ms).fold(0.0, f64::max);
    let times: Vec<f64> = runs.into_iter().flat_map(|runs| runs.times_ms).collect();
    Ok(median(&times).unwrap_or(0.0))
}

/// One session alone; the median of its runs.
fn alone<S: Session>(session: &mut S, batch: &[S::Input], left: &mut Budget) -> Result<f64, SessionError> {
    let runs = repeat(session, batch, *left)?;
    left.0 -= runs.spent_ms;
    Ok(median(&runs.times_ms).unwrap_or(0.0))
}

/// What the runs of one session took, in milliseconds of CPU time.
struct Runs {
    times_ms: Vec<f64>,
    /// With the one to warm up.
    spent_ms: f64,
}

/// One run to warm up, then timed ones.
fn repeat<S: Session>(session: &mut S, batch: &[S::Input], left: Budget) -> Result<Runs, SessionError> {
    let mut run = || -> Result<f64, SessionError> {
        let watch = Stopwatch::start();
        session.run(batch)?;
        Ok(watch.elapsed().cpu_ms)
    };
    let first_ms = run()?;
    let mut times_ms = Vec::with_capacity(RUNS_MAX);
    let mut timed_ms = 0.0;
    let enough = |runs, timed_ms| {
        let timed = timed_ms > SPENT_MS_MAX || timed_ms > SPENT_MS_MIN && first_ms + timed_ms >= left.0;
        runs >= RUNS_MAX || runs >= RUNS_MIN && timed
    };
    while !enough(times_ms.len(), timed_ms) {
        let took_ms = run()?;
        timed_ms += took_ms;
        times_ms.push(took_ms);
    }
    Ok(Runs {
        times_ms,
        spent_ms: first_ms + timed_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl Session for Fake {
        type Input = u8;
        type Output = ();

        fn run(&mut self, batch: &[u8]) -> Result<Vec<()>, SessionError> {
            if batch.len() > 8 {
                return Err(SessionError("too large".to_owned()));
            }
            Ok(vec![(); batch.len()])
        }
    }

    #[test]
    fn measuring_needs_no_budget_for_the_first_size_and_passes_failures_on() {
        let sessions = || Sessions {
            narrow: vec![Fake, Fake],
            wide: Some(Fake),
        };
        let curve = Curve::measure(&mut sessions(), &0, 8, Duration::ZERO).unwrap();
        assert_eq!((curve.narrow.len(), curve.wide.len()), (1, 1));
        struct Broken;
        impl Session for Broken {
            type Input = u8;
            type Output = ();
            fn run(&mut self, _: &[u8]) -> Result<Vec<()>, SessionError> {
                Err(SessionError("broken".to_owned()))
            }
        }
        let mut broken = Sessions {
            narrow: vec![Broken],
            wide: None,
        };
        assert!(Curve::measure(&mut broken, &0, 8, Duration::ZERO).is_err());
    }

    /// Sleeps for longer than it computes, as under a quota.
    struct Throttled;

    impl Session for Throttled {
        type Input = u8;
        type Output = ();

        fn run(&mut self, batch: &[u8]) -> Result<Vec<()>, SessionError> {
            std::thread::sleep(Duration::from_millis(10));
            Ok(vec![(); batch.len()])
        }
    }

    #[test]
    fn time_in_which_a_session_waits_for_a_core_does_not_count() {
        let mut sessions = Sessions {
            narrow: vec![Throttled],
            wide: None,
        };
        let curve = Curve::measure(&mut sessions, &0, 1, Duration::ZERO).unwrap();
        assert!(curve.narrow[0].latency_ms < 10.0, "{curve:?}");
    }
}
