//! The thread plan: how many sessions of which width, and the batch sizes that go with them.

use std::time::Duration;

use serde::Serialize;

use super::cores::Cores;
use super::curve::{Curve, Point};
use super::settings::{PlanMode, RuntimeSettings};
use repserve_scheduler::{BatchSettings, RunTimes, Tuning};

/// Batch of an explicit plan that names none.
const BATCH_UNMEASURED: usize = 1;

/// The plan in force, for the scheduler, the log and `/v2/models/{m}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Measured or given.
    pub mode: PlanMode,
    /// What the machine gives.
    pub machine: Cores,
    /// Cores in use: workers, each with a one-thread session.
    pub cores: usize,
    /// Seconds of CPU time a second that all workers together may use: `cores`, or less under a quota.
    pub cores_paid: f64,
    /// Threads of the all-core session; 0 without one.
    pub wide_threads: usize,
    /// Images in one run of a one-core session at most, to begin with.
    pub batch_max: usize,
    /// Other sizes are tried up to this one while it serves, and the best is used; `None`: `batch_max` holds.
    pub batch_tried_max: Option<usize>,
    /// Images in one run of the all-core session at most.
    pub wide_max: usize,
    /// The measurements behind it.
    pub curve: Curve,
}

impl Plan {
    /// The plan before anything is measured.
    pub fn new(settings: &RuntimeSettings, machine: Cores) -> Self {
        let cores = if settings.cores > 0 {
            settings.cores
        } else {
            machine.usable()
        };
        let wide = cores > 1 && (settings.plan == PlanMode::Auto || settings.wide_session);
        Self {
            mode: settings.plan,
            machine,
            cores,
            cores_paid: machine.paid().min(cores as f64),
            wide_threads: if wide { cores } else { 0 },
            batch_max: BATCH_UNMEASURED,
            batch_tried_max: None,
            wide_max: usize::from(wide),
            curve: Curve::default(),
        }
    }

    /// The plan that the measurements ask for. `batch_fixed` is the batch that the graph fixes, if it does.
    pub fn decided(mut self, curve: Curve, batch_fixed: Option<usize>) -> Self {
        if self.mode == PlanMode::Auto {
            self.batch_max = batch_fixed.unwrap_or_else(|| curve.best_batch());
            self.batch_tried_max = Some(curve.batch_max).filter(|_| batch_fixed.is_none());
            self.wide_max = curve.wide_max();
        }
        if self.wide_threads == 0 {
            self.wide_max = 0;
        } else if self.wide_max == 0 {
            self.wide_threads = 0;
        }
        self.curve = curve;
        self
    }

    /// Seconds of CPU time that a worker gets a second where all of them compute, 0 to 1: below 1 where a quota throttles them.
    pub fn core_share(&self) -> f64 {
        self.cores_paid / self.cores as f64
    }

    /// What the scheduler works with: the plan, and over it what the settings of the batches say.
    pub fn tuning(&self, settings: &BatchSettings) -> Tuning {
        let batch_max = if settings.batch_max > 0 {
            settings.batch_max
        } else {
            self.batch_max
        };
        let fill = self.curve.narrow_latency(batch_max);
        let fill = fill.map(|cpu_time| cpu_time.div_f64(self.core_share()));
        Tuning {
            batch_max,
            batch_tried_max: self.batch_tried_max.filter(|_| settings.batch_max == 0),
            wide_max: self.wide_max.max(1),
            fill: fill.unwrap_or(Tuning::from(settings).fill),
            run_times: RunTimes {
                narrow: run_times(&self.curve.narrow),
                wide: run_times(&self.curve.wide),
            },
            ..Tuning::from(settings)
        }
    }

    /// How long measuring may take.
    pub fn measure_time(settings: &RuntimeSettings) -> Duration {
        match settings.plan {
            PlanMode::Auto => Duration::from_millis(settings.measure_ms_max),
            PlanMode::Explicit => Duration::ZERO,
        }
    }
}

fn run_times(points: &[Point]) -> Vec<(usize, Duration)> {
    let time = |point: &Point| (point.batch_size, Duration::from_secs_f64(point.latency_ms / 1e3));
    points.iter().map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let points = |latencies: [f64; 2]| {
            let sizes = [1, 2].into_iter().zip(latencies);
            sizes
                .map(|(batch_size, latency_ms)| Point { batch_size, latency_ms })
                .collect()
        };
        Curve {
            narrow: points([1.0, 1.5]),
            wide: points([0.6, 1.1]),
            batch_max: 4,
        }
    }

    fn machine(affinity: usize) -> Cores {
        Cores { affinity, quota: None }
    }

    #[test]
    fn auto_takes_cores_from_the_machine_and_batches_from_the_curve() {
        let plan = Plan::new(&RuntimeSettings::default(), machine(4)).decided(curve(), None);
        assert_eq!((plan.cores, plan.wide_threads), (4, 4));
        let tuning = plan.tuning(&BatchSettings::default());
        assert_eq!(
            (tuning.batch_max, tuning.batch_tried_max, tuning.wide_max),
            (2, Some(4), 1)
        );
        assert_eq!(tuning.fill, Duration::from_micros(1500));
    }

    #[test]
    fn a_quota_with_a_fraction_is_shared_by_as_many_workers() {
        let plan = |affinity, quota| {
            let quota = Some(quota);
            Plan::new(&RuntimeSettings::default(), Cores { affinity, quota }).decided(curve(), None)
        };
        let fractional = plan(2, 1.5);
        assert_eq!((fractional.cores, fractional.wide_threads), (2, 2));
        assert_eq!((fractional.cores_paid, fractional.core_share()), (1.5, 0.75));
        assert_eq!(
            fractional.tuning(&BatchSettings::default()).fill,
            Duration::from_millis(2)
        );
        let half = plan(2, 0.5);
        assert_eq!((half.cores, half.wide_threads, half.core_share()), (1, 0, 0.5));
        assert_eq!(plan(2, 16.0).core_share(), 1.0);
    }

    #[test]
    fn the_settings_of_the_batches_win() {
        let settings = BatchSettings {
            batch_max: 7,
            ..BatchSettings::default()
        };
        let plan = Plan::new(&RuntimeSettings::default(), machine(2)).decided(curve(), None);
        let tuning = plan.tuning(&settings);
        assert_eq!((tuning.batch_max, tuning.batch_tried_max), (7, None));
    }

    #[test]
    fn one_core_has_no_wide_session_and_a_fixed_batch_stays() {
        let plan = Plan::new(&RuntimeSettings::default(), machine(1)).decided(curve(), Some(8));
        assert_eq!((plan.wide_threads, plan.wide_max, plan.batch_max), (0, 0, 8));
        assert_eq!(plan.batch_tried_max, None);
    }

    #[test]
    fn explicit_measures_nothing() {
        let settings = RuntimeSettings {
            plan: PlanMode::Explicit,
            cores: 3,
            wide_session: false,
            ..RuntimeSettings::default()
        };
        let plan = Plan::new(&settings, machine(2)).decided(curve(), None);
        assert_eq!((plan.cores, plan.wide_threads, plan.batch_max), (3, 0, 1));
        assert!(Plan::measure_time(&settings).is_zero());
    }
}
