//! The phases of loading a model, and the time that each takes.

use std::time::{Duration, Instant};

/// A phase of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The model's folder is read.
    Read,
    /// What is kept in the start-up cache is looked for and checked.
    Cache,
    /// The graph is parsed, fused and encoded.
    Fuse,
    /// ONNX Runtime's library is loaded.
    Runtime,
    /// The int8 graph is made and compared.
    Quantize,
    /// Kernels are prepared and measured.
    Lower,
    /// ONNX Runtime optimizes the graph.
    Optimize,
    /// Graphs are compared on probes.
    Verify,
    /// Sessions are made.
    Sessions,
    /// Sessions run for the first time and are measured.
    WarmUp,
}

impl Phase {
    /// As metrics, probes and the log call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Cache => "cache",
            Self::Fuse => "fuse",
            Self::Runtime => "runtime",
            Self::Quantize => "quantize",
            Self::Lower => "lower",
            Self::Optimize => "optimize",
            Self::Verify => "verify",
            Self::Sessions => "sessions",
            Self::WarmUp => "warm-up",
        }
    }
}

/// What is reported of phases while a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseEvent {
    /// The phase begins.
    Began(Phase),
    /// The phase is done; the time is that of all its parts so far.
    Done(Phase, Duration),
}

/// What loading took so far, by phase; a phase that comes twice adds up.
pub struct Clock<'a> {
    report: &'a dyn Fn(PhaseEvent),
    spent: Vec<(Phase, Duration)>,
}

impl std::fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("spent", &self.spent)
            .finish_non_exhaustive()
    }
}

impl<'a> Clock<'a> {
    /// Nothing has been done yet. `report` is called before and after each phase.
    pub fn new(report: &'a dyn Fn(PhaseEvent)) -> Self {
        Self {
            report,
            spent: Vec::new(),
        }
    }

    /// A clock without a report.
    pub fn silent() -> Self {
        Self::new(&|_| ())
    }

    /// Does a phase's work.
    ///
    /// # Errors
    /// Those of the work; the phase is not done then.
    pub fn time<T, E>(&mut self, phase: Phase, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        (self.report)(PhaseEvent::Began(phase));
        let began = Instant::now();
        let result = work()?;
        let took = began.elapsed();
        let total = match self.spent.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, spent)) => {
                *spent += took;
                *spent
            }
            None => {
                self.spent.push((phase, took));
                took
            }
        };
        (self.report)(PhaseEvent::Done(phase, total));
        Ok(result)
    }

    /// The phases that are done, in order, and what each took.
    pub fn spent(&self) -> &[(Phase, Duration)] {
        &self.spent
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_phase_in_two_parts_adds_up_and_one_that_fails_is_not_done() {
        let events = RefCell::new(Vec::new());
        let report = |event| events.borrow_mut().push(event);
        let mut clock = Clock::new(&report);
        let part = || {
            std::hint::black_box(());
            Ok::<_, ()>(())
        };
        clock.time(Phase::Verify, part).unwrap();
        clock.time(Phase::Sessions, part).unwrap();
        clock.time(Phase::Verify, part).unwrap();
        clock.time(Phase::WarmUp, || Err::<(), _>(())).unwrap_err();
        let phases: Vec<_> = clock.spent().iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Verify, Phase::Sessions]);
        let total = clock.spent()[0].1;
        let events = events.into_inner();
        assert_eq!(events.len(), 7);
        assert_eq!(events[5], PhaseEvent::Done(Phase::Verify, total));
        assert_eq!(events[6], PhaseEvent::Began(Phase::WarmUp));
    }
}
