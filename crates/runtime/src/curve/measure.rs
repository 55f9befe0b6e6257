//! Measuring a [`Curve`]. Times of one-core sessions are CPU time of the thread that calls them, so that neither a quota nor other processes
//! spoil them.
//!
//! A one-core session computes on that thread alone. A wide session's threads sleep while they wait for each other, so that no thread's CPU time is
//! the run's latency: of these runs the shortest on the wall counts, which others disturbed least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use repserve_scheduler::{Session, SessionError, Sessions};

use super::crew::Crew;
use super::search::Search;
use super::{Curve, Point, SINGLE_MS_MAX};
use crate::median::median;

/// A measurement is the median of as many runs as take this long, and of at most so many.
const TURN_MS: f64 = 10.0;
const RUNS_MAX: usize = 10;
/// Runs of the wide session in one measurement at least: there is one session of them.
const WIDE_RUNS_MIN: usize = 3;

/// How often the wide session is tried where it seems not to pay: its threads may share a core until the system moves one.
const WIDE_ATTEMPTS: usize = 5;
/// Share of the narrow session's latency below which there is no doubt.
const WIDE_CLEAR: f64 = 0.9;

impl Curve {
    /// Runs batches of `item` in sizes 1, 2, 4, … up to `batch_max`, as long as larger ones gain and `budget`, in CPU time of one thread,
    /// lasts. Size 1 is always measured, which also warms every session up; `brief`: and no other, where it takes more than 10 ms.
    ///
    /// # Errors
    /// A session does not run.
    pub fn measure<S>(
        sessions: &mut Sessions<S>,
        item: &S::Input,
        batch_max: usize,
        budget: Duration,
        brief: bool,
    ) -> Result<Self, SessionError>
    where
        S: Session + Send,
        S::Input: Clone + Send + Sync,
    {
        let Sessions { narrow, wide } = sessions;
        Crew::with(narrow, |crew| {
            let mut measuring = Measuring {
                crew,
                item,
                left_ms: budget.as_secs_f64() * 1e3,
                single_ms_max: if brief { SINGLE_MS_MAX } else { f64::INFINITY },
            };
            let narrow = measuring.narrow(batch_max, wide.is_some())?;
            let wide = match (wide, narrow.first()) {
                (Some(wide), Some(single)) => measuring.wide(wide, batch_max, single.latency_ms)?,
                _ => Vec::new(),
            };
            Ok(Self {
                narrow,
                wide,
                batch_max,
            })
        })
    }
}

struct Measuring<'a, I> {
    crew: &'a Crew<I>,
    item: &'a I,
    /// Milliseconds of CPU time that measuring may still take.
    left_ms: f64,
    /// Milliseconds of a single image up to which other sizes are measured.
    single_ms_max: f64,
}

impl<I: Clone + Send + Sync> Measuring<'_, I> {
    /// The one-core sessions, all at the same time; half of the time is kept for the wide one, where there is one.
    fn narrow(&mut self, batch_max: usize, wide: bool) -> Result<Vec<Point>, SessionError> {
        let kept_ms = if wide { self.left_ms / 2.0 } else { 0.0 };
        let mut search = Search::new(batch_max);
        let mut batches: Vec<(Arc<Vec<I>>, usize)> = Vec::new();
        while let Some(batch_size) = search.next((self.left_ms - kept_ms) / 2.0) {
            let known = batches.iter().position(|(batch, _)| batch.len() == batch_size);
            let place = match known {
                Some(place) => place,
                None => {
                    let batch = Arc::new(vec![self.item.clone(); batch_size]);
                    let first = self.together(&batch, 1)?;
                    batches.push((batch, runs(first, 1)));
                    batches.len() - 1
                }
            };
            let (batch, runs) = &batches[place];
            let latency_ms = self.together(batch, *runs)?;
            search.add(Point { batch_size, latency_ms });
            if latency_ms > self.single_ms_max * batch_size as f64 {
                search.limit();
            }
        }
        Ok(search.into_points())
    }

    /// The wide session alone, as far as it beats a one-core session that runs one image: not with many more images than there are cores.
    fn wide<S: Session<Input = I>>(
        &mut self,
        session: &mut S,
        batch_max: usize,
        single_ms: f64,
    ) -> Result<Vec<Point>, SessionError> {
        let mut points = Vec::new();
        let sizes = std::iter::successors(Some(1usize), |size| size.checked_mul(2));
        let batch_max = batch_max.min(self.crew.len().next_power_of_two()).max(1);
        let batch_max = if single_ms > self.single_ms_max { 1 } else { batch_max };
        for batch_size in sizes.take_while(|size| *size <= batch_max) {
            let batch = Arc::new(vec![self.item.clone(); batch_size]);
            let mut latency_ms = self.alone(session, &batch)?;
            for _ in 1..WIDE_ATTEMPTS {
                if batch_size > 1 || latency_ms < single_ms * WIDE_CLEAR {
                    break;
                }
                self.together(&batch, 1)?;
                latency_ms = latency_ms.min(self.alone(session, &batch)?);
            }
            points.push(Point { batch_size, latency_ms });
            if latency_ms >= single_ms || self.left_ms <= 0.0 {
                break;
            }
        }
        Ok(points)
    }

    /// The median of all sessions' runs.
    fn together(&mut self, batch: &Arc<Vec<I>>, runs: usize) -> Result<f64, SessionError> {
        let times = self.crew.run(batch, runs)?;
        // Of one session's thread.
        let threads = (times.len() / runs.max(1)).max(1);
        self.spend(&times, threads);
        Ok(median(&times).unwrap_or(0.0))
    }

    /// The shortest of the session's runs, after one that warms it up.
    fn alone<S: Session<Input = I>>(&mut self, session: &mut S, batch: &[I]) -> Result<f64, SessionError> {
        let first = walls(session, batch, 1)?;
        let first_ms = first.iter().sum();
        let times = walls(session, batch, runs(first_ms, WIDE_RUNS_MIN))?;
        self.left_ms -= first_ms;
        self.spend(&times, 1);
        Ok(times.into_iter().reduce(f64::min).unwrap_or(0.0))
    }

    fn spend(&mut self, times_ms: &[f64], threads: usize) {
        self.left_ms -= times_ms.iter().sum::<f64>() / threads as f64;
    }
}

/// How many runs a measurement takes, of which the first took `first_ms`.
fn runs(first_ms: f64, least: usize) -> usize {
    let fitting = TURN_MS / first_ms.max(TURN_MS / RUNS_MAX as f64);
    (fitting.ceil() as usize).clamp(least, RUNS_MAX)
}

/// Runs a batch that often; what each run took, in milliseconds on the wall.
fn walls<S: Session>(session: &mut S, batch: &[S::Input], runs: usize) -> Result<Vec<f64>, SessionError> {
    let run = |_| {
        let began = Instant::now();
        session.run(batch)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    (0..runs).map(run).collect()
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
        let curve = Curve::measure(&mut sessions(), &0, 8, Duration::ZERO, true).unwrap();
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
        assert!(Curve::measure(&mut broken, &0, 8, Duration::ZERO, true).is_err());
    }

    /// Computes for a while on one core, and at once on all.
    struct Computing {
        wide: bool,
    }

    impl Session for Computing {
        type Input = u8;
        type Output = ();

        fn run(&mut self, batch: &[u8]) -> Result<Vec<()>, SessionError> {
            let watch = crate::cpu_time::Stopwatch::start();
            while !self.wide && watch.elapsed().cpu_ms < batch.len() as f64 {}
            Ok(vec![(); batch.len()])
        }
    }

    #[test]
    fn all_cores_are_not_measured_with_many_more_images_than_there_are_cores() {
        let mut sessions = Sessions {
            narrow: vec![Computing { wide: false }, Computing { wide: false }],
            wide: Some(Computing { wide: true }),
        };
        let curve = Curve::measure(&mut sessions, &0, 16, Duration::from_secs(1), true).unwrap();
        assert!(curve.wide.len() <= 2, "{curve:?}");
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
        let curve = Curve::measure(&mut sessions, &0, 1, Duration::ZERO, true).unwrap();
        assert!(curve.narrow[0].latency_ms < 10.0, "{curve:?}");
    }
}
