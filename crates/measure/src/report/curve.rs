//! Goodput over offered load.

use serde::{Deserialize, Serialize};

use crate::goodput::Goodput;

/// One server under a rising load of Poisson arrivals with one deadline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Curve {
    /// The server's name.
    pub server: String,
    /// Processor and cores.
    pub machine: String,
    /// Milliseconds that each request has.
    pub deadline_ms: u64,
    /// Requests a second of 16 connections without a deadline, measured in the same run.
    pub capacity_per_second: f64,
    /// One for each load, ascending.
    pub points: Vec<Goodput>,
}

impl Curve {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "\n\nPoisson arrivals, each with {} ms; 16 connections without a deadline: {:.1} a second.\n\n",
            self.deadline_ms, self.capacity_per_second
        );
        text += "| offered/s | / capacity | in time/s | / capacity | late | 429 | 504 | failed | not sent |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        for point in &self.points {
            text += &format!(
                "| {:.1} | {:.2} | {:.1} | {:.2} | {} | {} | {} | {} | {} |\n",
                point.offered_per_second,
                point.offered_per_second / self.capacity_per_second,
                point.in_time_per_second,
                point.in_time_per_second / self.capacity_per_second,
                point.late,
                point.refused,
                point.expired,
                point.failed,
                point.not_sent,
            );
        }
        text
    }
}
