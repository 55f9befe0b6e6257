//! Goodput: the requests that are served in time, by the client's clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::{Outcome, Run, Sample};
use super::stats::{Percentiles, median};

/// What became of the requests of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct Goodput {
    /// Requests that were due, a second of sending.
    pub offered_per_second: f64,
    /// Requests served in time, a second: of sending, or until the last of them was served where that took longer.
    pub in_time_per_second: f64,
    /// Status 200 before the deadline.
    pub in_time: usize,
    /// Status 200 after the deadline, or no response at all.
    pub late: usize,
    /// Status 429.
    pub refused: usize,
    /// Status 504 or 408: the server admitted the request and did not serve it, or said at once that no server could.
    pub expired: usize,
    /// Anything else: no connection, other statuses.
    pub failed: usize,
    /// The client had too many requests in flight to send it.
    pub not_sent: usize,
    /// Latency of status 200, milliseconds.
    pub latency_ms: Percentiles,
    /// Latency of status 429, milliseconds.
    pub refused_latency_ms: Percentiles,
}

/// How one request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    InTime,
    Late,
    Refused,
    Expired,
    Failed,
    NotSent,
}

impl Kind {
    fn of(sample: &Sample, deadline: Option<Duration>) -> Self {
        match sample.outcome {
            Outcome::Status(200) if deadline.is_none_or(|d| sample.latency <= d) => Self::InTime,
            Outcome::Status(200) | Outcome::NoResponse => Self::Late,
            Outcome::Status(429) => Self::Refused,
            Outcome::Status(504 | 408) => Self::Expired,
            Outcome::Status(_) | Outcome::Failed => Self::Failed,
            Outcome::NotSent => Self::NotSent,
        }
    }
}

impl Goodput {
    /// Counts a run; without a deadline every request that is served is served in time.
    pub fn of(run: &Run, deadline: Option<Duration>) -> Self {
        let count = |kind| run.samples.iter().filter(|s| Kind::of(s, deadline) == kind).count();
        let latencies = |status| {
            let with_status = run.samples.iter().filter(move |s| s.outcome == Outcome::Status(status));
            Percentiles::of(with_status.map(|s| s.latency))
        };
        let served = run.samples.iter().filter(|s| Kind::of(s, deadline) == Kind::InTime);
        let last = served.map(|s| s.due + s.latency).max().unwrap_or_default();
        let in_time = count(Kind::InTime);
        Self {
            offered_per_second: run.samples.len() as f64 / run.sending.as_secs_f64(),
            in_time_per_second: in_time as f64 / run.sending.max(last).as_secs_f64(),
            in_time,
            late: count(Kind::Late),
            refused: count(Kind::Refused),
            expired: count(Kind::Expired),
            failed: count(Kind::Failed),
            not_sent: count(Kind::NotSent),
            latency_ms: latencies(200),
            refused_latency_ms: latencies(429),
        }
    }

    /// The share of the admitted requests (in time, late, expired) that were served in time; 1 of none.
    pub fn admitted_in_time(&self) -> f64 {
        match self.in_time + self.late + self.expired {
            0 => 1.0,
            admitted => self.in_time as f64 / admitted as f64,
        }
    }

    /// Figure by figure the median of several runs; failures are summed up.
    pub fn median(runs: &[Self]) -> Self {
        let of = |pick: &dyn Fn(&Self) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
        let count = |pick: fn(&Self) -> usize| of(&|g| pick(g) as f64) as usize;
        let percentiles =
            |pick: fn(&Self) -> Percentiles| Percentiles::median(&runs.iter().map(pick).collect::<Vec<_>>());
        Self {
            offered_per_second: of(&|g| g.offered_per_second),
            in_time_per_second: of(&|g| g.in_time_per_second),
            in_time: count(|g| g.in_time),
            late: count(|g| g.late),
            refused: count(|g| g.refused),
            expired: count(|g| g.expired),
            failed: runs.iter().map(|g| g.failed).sum(),
            not_sent: count(|g| g.not_sent),
            latency_ms: percentiles(|g| g.latency_ms),
            refused_latency_ms: percentiles(|g| g.refused_latency_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(requests: &[(u64, Outcome)]) -> Run {
        let samples = requests.iter().map(|&(latency_ms, outcome)| Sample {
            due: Duration::from_millis(1900),
            latency: Duration::from_millis(latency_ms),
            outcome,
        });
        Run {
            samples: samples.collect(),
            sending: Duration::from_secs(2),
        }
    }

    #[test]
    fn only_what_is_served_before_its_deadline_is_goodput() {
        let run = run(&[
            (100, Outcome::Status(200)),
            (101, Outcome::Status(200)),
            (9000, Outcome::NoResponse),
            (1, Outcome::Status(429)),
            (100, Outcome::Status(504)),
            (30, Outcome::Status(408)),
            (1, Outcome::Status(503)),
            (1, Outcome::Failed),
            (0, Outcome::NotSent),
        ]);
        let goodput = Goodput::of(&run, Some(Duration::from_millis(100)));
        let counts = [goodput.in_time, goodput.late, goodput.refused, goodput.expired];
        assert_eq!(counts, [1, 2, 1, 2]);
        assert_eq!((goodput.failed, goodput.not_sent), (2, 1));
        assert_eq!(goodput.offered_per_second, 4.5);
        assert_eq!(goodput.in_time_per_second, 0.5);
        assert_eq!(goodput.admitted_in_time(), 0.2);
        assert_eq!(goodput.refused_latency_ms.p99, 1.0);
    }

    #[test]
    fn work_after_the_end_of_sending_takes_its_time() {
        let goodput = Goodput::of(&run(&[(100, Outcome::Status(200)), (2100, Outcome::Status(200))]), None);
        assert_eq!((goodput.in_time, goodput.in_time_per_second), (2, 0.5));
        assert_eq!(Goodput::default().admitted_in_time(), 1.0);
    }

    #[test]
    fn a_median_keeps_every_failure() {
        let with = |in_time_per_second, failed| Goodput {
            in_time_per_second,
            failed,
            ..Goodput::default()
        };
        let median = Goodput::median(&[with(3.0, 1), with(1.0, 0), with(2.0, 2)]);
        assert_eq!((median.in_time_per_second, median.failed), (2.0, 3));
    }
}
