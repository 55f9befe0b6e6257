//! What a run of requests comes down to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::{Outcome, Sample};

/// Figures of one scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Requests answered 200.
    pub answered: usize,
    /// Requests answered 429.
    pub rejected: usize,
    /// Everything else.
    pub failed: usize,
    /// Requests answered 200, a second.
    pub images_per_second: f64,
    /// Latency of requests answered 200, milliseconds.
    pub latency_ms: Percentiles,
    /// Latency of requests answered 429, milliseconds.
    pub rejected_latency_ms: Percentiles,
}

/// Milliseconds; zero where there was no sample.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
}

impl Summary {
    /// Sums up the samples of a run that took `elapsed`.
    pub fn of(samples: &[Sample], elapsed: Duration) -> Self {
        let latencies = |status| {
            let with_status = samples.iter().filter(move |s| s.outcome == Outcome::Status(status));
            with_status.map(|s| s.latency)
        };
        let answered = latencies(200).count();
        let rejected = latencies(429).count();
        Self {
            answered,
            rejected,
            failed: samples.len() - answered - rejected,
            images_per_second: answered as f64 / elapsed.as_secs_f64(),
            latency_ms: Percentiles::of(latencies(200)),
            rejected_latency_ms: Percentiles::of(latencies(429)),
        }
    }
}

impl Summary {
    /// Figure by figure the median of several runs of the same scenario.
    pub fn median(runs: &[Self]) -> Self {
        let of = |pick: &dyn Fn(&Self) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
        let percentiles =
            |pick: fn(&Self) -> Percentiles| Percentiles::median(&runs.iter().map(pick).collect::<Vec<_>>());
        Self {
            answered: of(&|s| s.answered as f64) as usize,
            rejected: of(&|s| s.rejected as f64) as usize,
            failed: runs.iter().map(|s| s.failed).sum(),
            images_per_second: of(&|s| s.images_per_second),
            latency_ms: percentiles(|s| s.latency_ms),
            rejected_latency_ms: percentiles(|s| s.rejected_latency_ms),
        }
    }
}

impl Percentiles {
    /// Percentile by percentile the median of several runs.
    pub fn median(runs: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
        Self {
            p50: of(|p| p.p50),
            p95: of(|p| p.p95),
            p99: of(|p| p.p99),
        }
    }

    /// Nearest-rank percentiles, in milliseconds.
    pub fn of(latencies: impl Iterator<Item = Duration>) -> Self {
        let mut ms: Vec<f64> = latencies.map(|l| l.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let rank = |p: f64| match ms.len() {
            0 => 0.0,
            n => ms[((p * n as f64).ceil() as usize).clamp(1, n) - 1],
        };
        Self {
            p50: rank(0.50),
            p95: rank(0.95),
            p99: rank(0.99),
        }
    }
}

/// The middle value; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    repserve_runtime::median(values).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let percentiles = Percentiles::of((1..=200).map(Duration::from_millis));
        assert_eq!(
            percentiles,
            Percentiles {
                p50: 100.0,
                p95: 190.0,
                p99: 198.0
            }
        );
        assert_eq!(Percentiles::of(std::iter::empty()), Percentiles::default());
    }

    #[test]
    fn a_summary_counts_rejections_apart_from_failures() {
        let statuses = [200, 200, 429, 503].map(Outcome::Status);
        let samples: Vec<_> = statuses
            .into_iter()
            .chain([Outcome::Failed])
            .map(|outcome| Sample {
                due: Duration::ZERO,
                latency: Duration::from_millis(2),
                outcome,
            })
            .collect();
        let summary = Summary::of(&samples, Duration::from_secs(2));
        assert_eq!((summary.answered, summary.rejected, summary.failed), (2, 1, 2));
        assert_eq!(summary.images_per_second, 1.0);
    }
}
