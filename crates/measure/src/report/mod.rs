//! A benchmark's result: as JSON, as Markdown tables.

mod curve;
mod deadlines;
mod throughput;

use serde::{Deserialize, Serialize};

pub use curve::Curve;
pub use deadlines::{DeadlineRow, Deadlines};
pub use throughput::{Scenario, Throughput};

/// Everything one run found out about one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// Processor, cores that may be used, decoder: what the figures depend on.
    pub machine: String,
    /// The server beside a bare loop.
    #[serde(flatten)]
    pub throughput: Option<Throughput>,
    /// What is served in time under deadlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<Deadlines>,
    /// What is served in time over the load that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

/// How requests come.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// So many connections, each with one request in flight.
    Closed(usize),
    /// So many percent of the server's capacity, evenly spaced.
    Open(u32),
    /// So many percent of the server's capacity, as a Poisson process.
    Poisson(u32),
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(1) => write!(f, "1 connection"),
            Self::Closed(n) => write!(f, "{n} connections"),
            Self::Open(percent) => write!(f, "{percent} % of capacity offered"),
            Self::Poisson(percent) => write!(f, "{percent} % of capacity, Poisson"),
        }
    }
}

impl Report {
    /// The figures as Markdown: what was measured, a table for each part, the ratios.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}.", self.model, self.machine);
        if let Some(throughput) = &self.throughput {
            text += &throughput.markdown();
        }
        if let Some(deadlines) = &self.deadlines {
            text += &deadlines.markdown();
        }
        if let Some(curve) = &self.curve {
            text += &curve.markdown();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare::BareFigures;
    use crate::goodput::Goodput;

    #[test]
    fn a_report_reads_what_it_wrote_whichever_parts_it_has() {
        let figures = BareFigures {
            images_per_second: 100.0,
            latency_ms: 8.0,
        };
        let throughput = Throughput {
            bare: figures,
            bare_lowered: None,
            scenarios: Vec::new(),
            idle_cpu_percent: 0.0,
        };
        let curve = Curve {
            server: "m".into(),
            machine: "a machine".into(),
            deadline_ms: 200,
            capacity_per_second: 90.0,
            points: vec![Goodput::default()],
        };
        for (throughput, curve) in [(None, Some(curve.clone())), (Some(throughput), None)] {
            let report = Report {
                model: "m".into(),
                machine: "a machine".into(),
                throughput,
                deadlines: None,
                curve,
            };
            let json = serde_json::to_string(&report).unwrap();
            let read: Report = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
            assert_eq!(read.throughput.is_some(), report.throughput.is_some());
            assert_eq!(read.curve.is_some(), report.curve.is_some());
        }
    }
}
