//! The batch-latency curve of one model on this machine, and what is read off it.

mod turns;

use std::time::{Duration, Instant};

use serde::Serialize;

use repserve_scheduler::{Session, SessionError, Sessions};

use super::median::median;

/// Throughput that a larger batch must add before it is worth its latency.
const GAIN_MIN: f64 = 1.02;
/// Milliseconds that a run of more than one image may take: an image that comes just after its start waits as long.
const BATCH_MS_MAX: f64 = 100.0;

/// Runs of one batch size: at least, and at most while time lasts.
const RUNS_MIN: usize = 3;
const RUNS_MAX: usize = 15;
/// Runs go on for this long whatever the budget says: a few short ones tell little, least of all of threads that have just started.
const SPENT_MS_MIN: f64 = 25.0;
const SPENT_MS_MAX: f64 = 200.0;

/// How often the wide session is tried where it seems not to pay: its threads may share a core until the system moves one.
const WIDE_ATTEMPTS: usize = 5;
/// Share of the narrow session's latency below which there is no doubt.
const WIDE_CLEAR: f64 = 0.9;

/// Latency of one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Images in the batch.
    pub batch_size: usize,
    /// Median latency of a run, in milliseconds; the least of several where the size was measured in turns.
    pub latency_ms: f64,
}

impl Point {
    /// Images a millisecond of one session.
    fn rate(&self) -> f64 {
        self.batch_size as f64 / self.latency_ms.max(f64::MIN_POSITIVE)
    }
}

/// What warm-up measured, by batch size.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curve {
    /// One-core sessions, all of them running at the same time, as they do under load.
    pub narrow: Vec<Point>,
    /// The all-core session alone.
    pub wide: Vec<Point>,
}

impl Curve {
    /// The smallest batch whose throughput, all sessions running at the same time, no larger one beats by more than 2 %; larger ones than a
    /// single image count as far as a run of them takes at most 100 ms. 1 if nothing was measured.
    pub fn best_batch(&self) -> usize {
        let in_time = |p: &&Point| p.batch_size == 1 || p.latency_ms <= BATCH_MS_MAX;
        let best = self.narrow.iter().filter(in_time).map(Point::rate).fold(0.0, f64::max);
        let mut as_good = self
            .narrow
            .iter()
            .filter(in_time)
            .filter(|p| p.rate() * GAIN_MIN >= best);
        as_good.next().map_or(1, |p| p.batch_size)
    }

    /// The largest batch that all cores together finish before one core finishes a single image; 0 where the wide session
    /// does not pay.
    pub fn wide_max(&self) -> usize {
        let Some(single) = self.narrow.first() else {
            return 1;
        };
        let pays = self
            .wide
            .iter()
            .filter(|p| p.latency_ms < single.latency_ms * single.batch_size as f64);
        pays.map(|p| p.batch_size).max().unwrap_or(0)
    }

    /// Latency of a narrow batch of that size, or of the next smaller one that was measured.
    pub fn narrow_latency(&self, batch_size: usize) -> Option<Duration> {
        let point = self.narrow.iter().rev().find(|p| p.batch_size <= batch_size)?;
        Some(Duration::from_secs_f64(point.latency_ms / 1e3))
    }

    /// Runs batches of `item` in sizes 1, 2, 4, … up to `batch_max`, as long as larger ones gain and `budget` lasts. Size 1 is
    /// always measured, which also warms every session up.
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
        let end = Instant::now() + budget;
        let sizes = || std::iter::successors(Some(1usize), |n| n.checked_mul(2)).take_while(|n| *n <= batch_max.max(1));
        let mut curve = Self::default();
        for batch_size in sizes() {
            if !curve.narrow.is_empty() && !worth_measuring(&curve.narrow, batch_size, end, sessions.wide.is_some()) {
                break;
            }
            let batch = vec![item.clone(); batch_size];
            let latency_ms = together(&mut sessions.narrow, &batch, end)?;
            curve.narrow.push(Point { batch_size, latency_ms });
            let last_two = curve.narrow.len().saturating_sub(2)..;
            turns::settle(&mut curve.narrow[last_two], |batch_size| {
                let now = Instant::now();
                let batch = vec![item.clone(); batch_size];
                // As few runs as tell something: there are several turns.
                let again = (now < end).then(|| together(&mut sessions.narrow, &batch, now));
                again.transpose()
            })?;
        }
        if let Some(wide) = sessions.wide.as_mut() {
            for batch_size in sizes() {
                let batch = vec![item.clone(); batch_size];
                let mut latency_ms = median_ms(&repeat(wide, &batch, end)?);
                for _ in 1..WIDE_ATTEMPTS {
                    if batch_size > 1 || latency_ms < curve.narrow[0].latency_ms * WIDE_CLEAR {
                        break;
                    }
                    together(&mut sessions.narrow, &batch, end)?;
                    latency_ms = latency_ms.min(median_ms(&repeat(wide, &batch, end)?));
                }
                curve.wide.push(Point { batch_size, latency_ms });
                if latency_ms >= curve.narrow[0].latency_ms || Instant::now() >= end {
                    break;
                }
            }
        }
        Ok(curve)
    }
}

/// Whether the last doubling gained something and the next one fits into the time that is left, with half of it kept for
/// the wide session.
fn worth_measuring(narrow: &[Point], next: usize, end: Instant, wide: bool) -> bool {
    let gained = match narrow {
        [.., before, last] => last.rate() >= before.rate() * 0.97,
        _ => true,
    };
    let expected_ms = narrow
        .last()
        .map_or(0.0, |p| p.latency_ms / p.batch_size as f64 * next as f64);
    let left_ms = end.saturating_duration_since(Instant::now()).as_secs_f64() * 1e3;
    gained && expected_ms * RUNS_MIN as f64 <= if wide { left_ms / 2.0 } else { left_ms }
}

/// All sessions at the same time, a thread each; the median of all runs.
fn together<S>(sessions: &mut [S], batch: &[S::Input], end: Instant) -> Result<f64, SessionError>
where
    S: Session + Send,
    S::Input: Sync,
{
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|s| scope.spawn(move || repeat(s, batch, end)))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let times = thread
                .join()
                .unwrap_or_else(|_| Err(SessionError("it panicked".to_owned())));
            all.extend(times?);
        }
        Ok(all)
    })?;
    Ok(median_ms(&times))
}

/// 0 of no runs.
fn median_ms(times: &[f64]) -> f64 {
    median(times).unwrap_or(0.0)
}

/// One run to warm up, then timed ones, in milliseconds.
fn repeat<S: Session>(session: &mut S, batch: &[S::Input], end: Instant) -> Result<Vec<f64>, SessionError> {
    session.run(batch)?;
    let mut times = Vec::with_capacity(RUNS_MAX);
    let mut spent_ms = 0.0;
    let enough = |runs, spent_ms| {
        let timed = spent_ms > SPENT_MS_MAX || spent_ms > SPENT_MS_MIN && Instant::now() >= end;
        runs >= RUNS_MAX || runs >= RUNS_MIN && timed
    };
    while !enough(times.len(), spent_ms) {
        let start = Instant::now();
        session.run(batch)?;
        let took_ms = start.elapsed().as_secs_f64() * 1e3;
        spent_ms += took_ms;
        times.push(took_ms);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(latencies: &[f64]) -> Vec<Point> {
        let sizes = (0..).map(|n| 1usize << n);
        let point = |(batch_size, &latency_ms)| Point { batch_size, latency_ms };
        sizes.zip(latencies).map(point).collect()
    }

    #[track_caller]
    fn check(narrow: &[f64], wide: &[f64], best_batch: usize, wide_max: usize) {
        let curve = Curve {
            narrow: points(narrow),
            wide: points(wide),
        };
        assert_eq!(
            (curve.best_batch(), curve.wide_max()),
            (best_batch, wide_max),
            "{curve:?}"
        );
    }

    #[test]
    fn large_convolutions_stay_single() {
        check(&[25.0, 50.0, 101.0, 205.0], &[14.7, 28.0], 1, 1);
    }

    #[test]
    fn two_percent_more_are_not_worth_twice_the_latency() {
        check(&[25.0, 49.2, 98.5], &[14.7], 1, 1);
        check(&[25.0, 46.2, 91.0], &[14.7], 2, 1);
    }

    #[test]
    fn runs_of_several_images_are_short() {
        check(&[27.5, 51.0, 98.0, 170.0], &[15.0], 4, 1);
        check(&[60.0, 110.0], &[40.0], 1, 1);
        check(&[150.0, 200.0], &[90.0], 1, 1);
    }

    #[test]
    fn small_models_batch_as_far_as_it_gains() {
        check(&[1.0, 1.6, 2.8, 5.5], &[0.7, 0.95, 1.5], 4, 2);
    }

    #[test]
    fn a_wide_session_that_is_no_faster_is_not_used() {
        check(&[0.1, 0.15], &[0.12], 2, 0);
    }

    #[test]
    fn nothing_measured_means_one_at_a_time() {
        check(&[], &[], 1, 1);
    }

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
}
