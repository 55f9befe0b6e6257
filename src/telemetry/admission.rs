//! The metrics of admission: what is refused and why, what is done in time, how well that was predicted.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::maker::Maker;
use repserve_scheduler::{Refusal, Rejected};

/// Predicted minus real time, in seconds: below zero where a request took longer than predicted.
const PREDICTION_ERROR_SECONDS: &[f64] = &[
    -10.0, -5.0, -2.0, -1.0, -0.5, -0.2, -0.1, -0.05, -0.02, -0.01, -0.005, -0.002, 0.0, 0.002, 0.005, 0.01, 0.02,
    0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// The work alone takes longer than the deadline allows.
const TOO_SHORT: &str = "too_short";
/// The deadline had passed before the request could be admitted.
const EXPIRED: &str = "expired";

/// What was admitted and what became of it.
#[derive(Debug, Clone)]
pub struct AdmissionMetrics {
    in_time: IntCounter,
    late: IntCounter,
    refused: Vec<(&'static str, IntCounter)>,
    backlog: Gauge,
    prediction_error: Histogram,
    held: IntGauge,
}

impl AdmissionMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let refused = make.counters(
            "requests_refused_total",
            &["reason"],
            "Requests that were not admitted because they would have waited too long, or could not be done in time.",
        )?;
        Ok(Self {
            in_time: make.counter(
                "requests_in_time_total",
                "Requests that were completed by their deadline.",
            )?,
            late: make.counter(
                "requests_late_total",
                "Requests that were admitted and not completed by their deadline.",
            )?,
            refused: reasons()
                .map(|reason| (reason, refused.with_label_values(&[reason])))
                .collect(),
            backlog: make.gauge(
                "backlog_seconds",
                "Time that all workers together would take for everything that was admitted.",
            )?,
            prediction_error: make.histogram(
                "wait_prediction_error_seconds",
                PREDICTION_ERROR_SECONDS,
                "Time from admission to completion as predicted, minus as it was; below zero: it took longer.",
            )?,
            held: make.number(
                "requests_held",
                "Requests that came back before they were to, and are held until there is room.",
            )?,
        })
    }

    /// A request was completed by its deadline.
    pub fn in_time(&self) {
        self.in_time.inc();
    }

    /// A request was admitted and not completed by its deadline.
    pub fn late(&self) {
        self.late.inc();
    }

    /// A request was not admitted.
    pub fn refused(&self, rejected: &Rejected) {
        let reason = match rejected {
            Rejected::Overloaded { reason, .. } => reason.code(),
            Rejected::TooShort { .. } => TOO_SHORT,
            Rejected::Expired => EXPIRED,
            Rejected::TooMany { .. } | Rejected::Draining => return,
        };
        if let Some((_, counter)) = self.refused.iter().find(|(label, _)| *label == reason) {
            counter.inc();
        }
    }

    /// How long all workers together would take for what was admitted.
    pub fn backlog(&self, backlog: Duration) {
        self.backlog.set(backlog.as_secs_f64());
    }

    /// A request was predicted to be done after `predicted` and was after `actual`.
    pub fn predicted(&self, predicted: Duration, actual: Duration) {
        self.prediction_error
            .observe(predicted.as_secs_f64() - actual.as_secs_f64());
    }

    /// How many requests are held.
    pub fn held(&self, requests: usize) {
        self.held.set(requests as i64);
    }
}

/// The values of the label `reason`.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    Refusal::ALL.into_iter().map(Refusal::code).chain([TOO_SHORT, EXPIRED])
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Metrics;
    use super::*;

    #[test]
    fn refusals_count_by_reason_and_errors_on_either_side_of_zero() {
        let metrics = Metrics::new().unwrap();
        let ms = Duration::from_millis;
        for reason in Refusal::ALL {
            let retry_after = ms(1);
            metrics.admission.refused(&Rejected::Overloaded { reason, retry_after });
        }
        metrics.admission.refused(&Rejected::TooShort { needed: ms(1) });
        metrics.admission.refused(&Rejected::Expired);
        metrics.admission.refused(&Rejected::Draining);
        metrics.admission.predicted(ms(30), ms(33));
        metrics.admission.predicted(ms(33), ms(30));
        metrics.admission.backlog(ms(1500));
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        let refused = reasons().map(|reason| format!("repserve_requests_refused_total{{reason=\"{reason}\"}} 1"));
        let others = [
            "repserve_wait_prediction_error_seconds_bucket{le=\"-0.005\"} 0",
            "repserve_wait_prediction_error_seconds_bucket{le=\"-0.002\"} 1",
            "repserve_wait_prediction_error_seconds_bucket{le=\"0.002\"} 1",
            "repserve_wait_prediction_error_seconds_bucket{le=\"0.005\"} 2",
            "repserve_backlog_seconds 1.5",
            "repserve_requests_in_time_total 0",
            "repserve_requests_late_total 0",
        ];
        for line in refused.chain(others.map(str::to_owned)) {
            assert!(text.contains(&line), "no `{line}` in\n{text}");
        }
    }
}
