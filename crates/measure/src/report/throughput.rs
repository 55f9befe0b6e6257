//! Throughput and latency beside a bare loop.

use serde::{Deserialize, Serialize};

use super::Load;
use crate::bare::BareFigures;
use crate::stats::Summary;

/// The server under several loads, and the loop that it is compared with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Throughput {
    /// The loop over ONNX Runtime's own operators.
    pub bare: BareFigures,
    /// The loop over the layers that the server lowers; `None` where it lowers none.
    pub bare_lowered: Option<BareFigures>,
    /// Figures of the server.
    pub scenarios: Vec<Scenario>,
    /// CPU that the idle server used, percent of one core.
    pub idle_cpu_percent: f64,
}

/// One way of loading the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scenario {
    /// How requests came.
    pub load: Load,
    /// What the client saw, each figure the median of the rounds.
    pub summary: Summary,
    /// CPU of the server, in cores.
    pub cores: f64,
    /// Resident memory of the server at the end, MiB.
    pub rss_mib: f64,
}

fn figures_text(figures: &BareFigures) -> String {
    format!(
        "{:.1} images/s on all cores, {:.2} ms one at a time on the widest session",
        figures.images_per_second, figures.latency_ms
    )
}

impl Throughput {
    /// The scenario with this load.
    pub fn scenario(&self, load: Load) -> Option<&Scenario> {
        self.scenarios.iter().find(|s| s.load == load)
    }

    /// The best closed loop's images a second.
    pub fn capacity(&self) -> f64 {
        let closed = self.scenarios.iter().filter(|s| matches!(s.load, Load::Closed(_)));
        closed.map(|s| s.summary.images_per_second).fold(0.0, f64::max)
    }

    /// The figures as Markdown: the bare loop, a table, the ratios.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(" Bare loop: {}.", figures_text(&self.bare));
        if let Some(lowered) = &self.bare_lowered {
            text += &format!(" With the server's kernels: {}.", figures_text(lowered));
        }
        text += "\n\n| load | images/s | / bare | / bare, same kernels | p50 ms | p95 ms | p99 ms | 429 | 429 p99 ms | failed | cores | RSS MiB |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        let same = self.bare_lowered.unwrap_or(self.bare);
        for Scenario {
            load,
            summary: s,
            cores,
            rss_mib,
        } in &self.scenarios
        {
            let share = s.rejected as f64 / (s.answered + s.rejected + s.failed).max(1) as f64;
            text += &format!(
                "| {load} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} % | {:.2} | {} | {cores:.2} | {rss_mib:.0} |\n",
                s.images_per_second,
                s.images_per_second / self.bare.images_per_second,
                s.images_per_second / same.images_per_second,
                s.latency_ms.p50,
                s.latency_ms.p95,
                s.latency_ms.p99,
                share * 100.0,
                s.rejected_latency_ms.p99,
                s.failed,
            );
        }
        if let Some(single) = self.scenario(Load::Closed(1)) {
            let p50 = single.summary.latency_ms.p50;
            let (bare, same) = (p50 / self.bare.latency_ms, p50 / same.latency_ms);
            text += &format!("\np50 at one connection / bare: {bare:.2}, same kernels: {same:.2}. ");
        }
        if let Some(many) = self.scenario(Load::Closed(16)) {
            let ratio = many.summary.latency_ms.p99 / many.summary.latency_ms.p50;
            text += &format!("p99 / p50 at 16 connections: {ratio:.2}. ");
        }
        if let Some(over) = self.scenario(Load::Open(300)) {
            let ratio = over.summary.images_per_second / self.capacity();
            text += &format!("Answered / capacity at three times the capacity: {ratio:.2}. ");
        }
        text += &format!("Idle: {:.2} % of a core.\n", self.idle_cpu_percent);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Percentiles;

    fn throughput() -> Throughput {
        let latency_ms = Percentiles {
            p50: 10.0,
            p95: 12.0,
            p99: 15.0,
        };
        let summary = Summary {
            answered: 90,
            rejected: 10,
            failed: 0,
            images_per_second: 90.0,
            latency_ms,
            rejected_latency_ms: Percentiles::default(),
        };
        let scenario = |load| Scenario {
            load,
            summary: summary.clone(),
            cores: 1.9,
            rss_mib: 120.0,
        };
        Throughput {
            bare: BareFigures {
                images_per_second: 100.0,
                latency_ms: 8.0,
            },
            bare_lowered: Some(BareFigures {
                images_per_second: 180.0,
                latency_ms: 5.0,
            }),
            scenarios: [Load::Closed(1), Load::Closed(16), Load::Open(300)]
                .map(scenario)
                .to_vec(),
            idle_cpu_percent: 0.1,
        }
    }

    #[test]
    fn the_table_carries_the_ratios() {
        let text = throughput().markdown();
        for part in [
            "| 16 connections | 90.0 | 0.90 | 0.50 |",
            "p50 at one connection / bare: 1.25, same kernels: 2.00",
            "p99 / p50 at 16 connections: 1.50",
            "1.00",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
