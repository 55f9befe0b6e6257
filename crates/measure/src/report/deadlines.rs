//! Goodput under deadlines.

use serde::{Deserialize, Serialize};

use super::Load;
use crate::goodput::Goodput;

/// The server under loads that it cannot serve in time in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deadlines {
    /// Images a second of 16 connections without a deadline, measured in the same run: the median of the rounds.
    pub capacity_per_second: f64,
    /// Milliseconds of one core that an image takes, from the capacity. Deadlines are multiples of it.
    pub service_ms: f64,
    /// One for each load and deadline.
    pub rows: Vec<DeadlineRow>,
}

/// One load with one deadline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadlineRow {
    /// How requests came.
    pub load: Load,
    /// Milliseconds that each request had; `None` where it asked for no deadline.
    pub deadline_ms: Option<u64>,
    /// What the client saw, each figure the median of the rounds.
    pub goodput: Goodput,
    /// Requests in time over the capacity of the same round.
    pub of_capacity: f64,
    /// CPU of the server, in cores.
    pub cores: f64,
    /// CPU of the server's threads that read and write, in cores.
    pub io_cores: f64,
}

impl Deadlines {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "\n\n### Served in time\n\nCapacity (16 connections, no deadline): {:.1} images/s, {:.2} ms of a core for each.\n\n",
            self.capacity_per_second, self.service_ms
        );
        text += "| load | deadline ms | offered/s | in time/s | / capacity | in time of admitted | late | 429 | 504 | failed | not sent | 429 p99 ms | cores | of them I/O |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let goodput = &row.goodput;
            text += &format!(
                "| {} | {} | {:.1} | {:.1} | {:.2} | {:.1} % | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} |\n",
                row.load,
                row.deadline_ms.map_or("none".to_owned(), |ms| ms.to_string()),
                goodput.offered_per_second,
                goodput.in_time_per_second,
                row.of_capacity,
                goodput.admitted_in_time() * 100.0,
                goodput.late,
                goodput.refused,
                goodput.expired,
                goodput.failed,
                goodput.not_sent,
                goodput.refused_latency_ms.p99,
                row.cores,
                row.io_cores,
            );
        }
        text + &self.ratios()
    }

    /// The least of the ratios, and what refusing takes.
    fn ratios(&self) -> String {
        let least = |is_closed: bool| {
            let rows = self
                .rows
                .iter()
                .filter(|r| matches!(r.load, Load::Closed(_)) == is_closed);
            rows.map(|r| r.of_capacity).reduce(f64::min)
        };
        let mut text = String::new();
        if let Some(ratio) = least(true) {
            text += &format!("Least in time / capacity, closed loop: {ratio:.2}. ");
        }
        if let Some(ratio) = least(false) {
            text += &format!("Open loop: {ratio:.2}. ");
        }
        if let Some((connections, cores)) = self.refusing_cores() {
            text += &format!("Refusing, {connections} connections: {cores:.2} of a core. ");
        }
        format!("\n{}\n", text.trim_end())
    }

    /// The storm with the most connections, and the cores that refusing takes in it: what the threads that read and write use, less what
    /// they use for as many served requests where nothing is refused.
    pub fn refusing_cores(&self) -> Option<(usize, f64)> {
        let calm = self
            .rows
            .iter()
            .find(|r| r.goodput.refused == 0 && r.goodput.in_time > 0)?;
        let seconds_each = calm.io_cores / calm.goodput.in_time_per_second;
        let storms = self.rows.iter().filter_map(|row| match row.load {
            Load::Closed(connections) if row.goodput.refused > 0 => Some((connections, row)),
            _ => None,
        });
        let (connections, storm) = storms.max_by_key(|(connections, _)| *connections)?;
        let serving = seconds_each * storm.goodput.in_time_per_second;
        Some((connections, (storm.io_cores - serving).max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(load: Load, of_capacity: f64, refused: usize, io_cores: f64) -> DeadlineRow {
        DeadlineRow {
            load,
            deadline_ms: (refused > 0).then_some(200),
            goodput: Goodput {
                in_time: 100,
                in_time_per_second: 100.0 * of_capacity,
                refused,
                ..Goodput::default()
            },
            of_capacity,
            cores: 1.9,
            io_cores,
        }
    }

    #[test]
    fn the_table_carries_the_ratios() {
        let deadlines = Deadlines {
            capacity_per_second: 100.0,
            service_ms: 20.0,
            rows: vec![
                row(Load::Closed(16), 1.0, 0, 0.1),
                row(Load::Closed(512), 0.95, 300, 0.2),
                row(Load::Closed(1000), 0.9, 900, 0.15),
                row(Load::Poisson(300), 0.97, 200, 0.1),
            ],
        };
        let text = deadlines.markdown();
        for part in [
            "| 16 connections | none | 0.0 | 100.0 | 1.00 | 100.0 % |",
            "| 300 % of capacity, Poisson | 200 |",
            "Least in time / capacity, closed loop: 0.90. Open loop: 0.97. Refusing, 1000 connections: 0.06 of a core.",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn refusing_costs_nothing_where_nothing_is_refused() {
        let deadlines = Deadlines {
            capacity_per_second: 100.0,
            service_ms: 20.0,
            rows: vec![row(Load::Closed(16), 1.0, 0, 0.1)],
        };
        assert_eq!(deadlines.refusing_cores(), None);
    }
}
