//! Times the phases of loading and tells them.

use std::time::{Duration, Instant};

use crate::telemetry::ModelMetrics;

/// What loading took so far, by phase; a phase that comes twice adds up.
pub(super) struct Clock<'a> {
    metrics: &'a ModelMetrics,
    phase: &'a dyn Fn(&'static str),
    pub(super) spent: Vec<(&'static str, Duration)>,
}

impl<'a> Clock<'a> {
    pub(super) fn new(metrics: &'a ModelMetrics, phase: &'a dyn Fn(&'static str)) -> Self {
        Self {
            metrics,
            phase,
            spent: Vec::new(),
        }
    }

    /// Does a phase's work.
    pub(super) fn time<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        (self.phase)(name);
        let began = Instant::now();
        let done = work()?;
        let took = began.elapsed();
        match self.spent.iter_mut().find(|(known, _)| *known == name) {
            Some((_, spent)) => *spent += took,
            None => self.spent.push((name, took)),
        }
        let spent = self.spent.iter().find(|(known, _)| *known == name);
        self.metrics.phase(name, spent.map_or(took, |(_, spent)| *spent));
        Ok(done)
    }
}
