//! What happens to one model when it is loaded and unloaded, as a pure state machine: no threads, no clock, no files.
//!
//! A model's versions are unloaded, loading, ready, failed or unloading. One load of a model runs at a time:
//! - One that is requested before it has begun is the same load.
//! - One that is requested later waits for it, and then looks whether the files have changed since.
//! - Unloading wins over a load that runs: what that makes is thrown away.
//! - Where a version cannot be loaded, what was served before goes on, all of it.

use std::collections::{BTreeMap, BTreeSet};

/// A version of a model.
pub type Version = String;

/// The state of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was served, or was to be; it is not any more.
    Unloaded,
    /// It is being compiled and verified.
    Loading,
    /// It is served; with why newer files of it are not, where they could not be loaded.
    Ready(Option<String>),
    /// It cannot be served: why.
    Failed(String),
    /// It finishes its last requests.
    Unloading,
}

/// Numbers the loads of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadId(u64);

/// What a request to load leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// The load that answers it.
    pub load: LoadId,
    /// Whether that load is to be started.
    pub starts: bool,
}

/// What follows when a load has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Whether what was loaded is to be served; else it is thrown away.
    pub publish: bool,
    /// Versions that are not to be served any more.
    pub retire: Vec<Version>,
    /// A load that is to be started.
    pub starts: Option<LoadId>,
}

/// How a load went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The folder was read; each version that is to be served, and why it cannot be.
    Versions(BTreeMap<Version, Result<(), String>>),
    /// The folder could not be read: why.
    Unreadable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Idle,
    /// Requested, not begun.
    Queued(LoadId),
    Running {
        load: LoadId,
        cancelled: bool,
        next: Option<LoadId>,
    },
}

/// One model.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    versions: BTreeMap<Version, State>,
    unreadable: Option<String>,
    job: Job,
    loads: u64,
    /// Whether it was unloaded on request.
    unloaded: bool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            versions: BTreeMap::new(),
            unreadable: None,
            job: Job::Idle,
            loads: 0,
            unloaded: false,
        }
    }
}

impl Lifecycle {
    /// The versions that are known, each with its state.
    pub fn versions(&self) -> &BTreeMap<Version, State> {
        &self.versions
    }

    /// Why the model's folder could not be read, where it could not.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Whether a load is requested or runs that will not be thrown away.
    pub fn is_loading(&self) -> bool {
        match self.job {
            Job::Idle => false,
            Job::Queued(_) => true,
            Job::Running { cancelled, next, .. } => !cancelled || next.is_some(),
        }
    }

    /// Whether some version is served.
    pub fn is_ready(&self) -> bool {
        self.versions.values().any(|state| matches!(state, State::Ready(_)))
    }

    /// Whether it was unloaded on request, and not loaded since.
    pub fn is_unloaded(&self) -> bool {
        self.unloaded
    }

    /// A load is requested.
    pub fn load(&mut self) -> Requested {
        self.unloaded = false;
        match &mut self.job {
            Job::Queued(load) => Requested {
                load: *load,
                starts: false,
            },
            Job::Idle => {
                let load = self.number();
                self.job = Job::Queued(load);
                Requested { load, starts: true }
            }
            Job::Running { next: Some(load), .. } => Requested {
                load: *load,
                starts: false,
            },
            Job::Running { next: None, .. } => {
                let load = self.number();
                if let Job::Running { next, .. } = &mut self.job {
                    *next = Some(load);
                }
                Requested { load, starts: false }
            }
        }
    }

    /// The load begins. Whether it is still wanted.
    pub fn begin(&mut self, load: LoadId) -> bool {
        let wanted = self.job == Job::Queued(load);
        if wanted {
            self.job = Job::Running {
                load,
                cancelled: false,
                next: None,
            };
        }
        wanted
    }

    /// The load that runs makes these versions.
    pub fn loading<'a>(&mut self, versions: impl IntoIterator<Item = &'a str>) {
        if matches!(self.job, Job::Running { cancelled: false, .. }) {
            for version in versions {
                let state = self.versions.entry(version.to_owned()).or_insert(State::Unloaded);
                if !matches!(state, State::Ready(_)) {
                    *state = State::Loading;
                }
            }
        }
    }

    /// Whether the load that runs is still wanted.
    pub fn wants(&self, load: LoadId) -> bool {
        matches!(self.job, Job::Running { load: running, cancelled: false, .. } if running == load)
    }

    /// The load has ended.
    pub fn ended(&mut self, load: LoadId, outcome: Outcome) -> Ended {
        let Job::Running {
            load: running,
            cancelled,
            next,
        } = self.job
        else {
            return Ended::default();
        };
        if running != load {
            return Ended::default();
        }
        self.job = next.map_or(Job::Idle, Job::Queued);
        let retire = if cancelled { Vec::new() } else { self.settle(outcome) };
        for state in self.versions.values_mut().filter(|state| **state == State::Loading) {
            *state = State::Unloaded;
        }
        Ended {
            publish: !cancelled,
            retire,
            starts: next,
        }
    }

    /// Takes over how a load went. Returns the versions that are not to be served any more.
    fn settle(&mut self, outcome: Outcome) -> Vec<Version> {
        let outcomes = match outcome {
            Outcome::Unreadable(reason) => {
                self.unreadable = Some(reason);
                return Vec::new();
            }
            Outcome::Versions(outcomes) => outcomes,
        };
        self.unreadable = None;
        let whole = outcomes.values().all(Result::is_ok);
        let wanted: BTreeSet<Version> = outcomes.keys().cloned().collect();
        for (version, outcome) in outcomes {
            let state = self.versions.entry(version).or_insert(State::Unloaded);
            *state = match (outcome, &*state) {
                (Ok(()), _) => State::Ready(None),
                (Err(reason), State::Ready(_)) => State::Ready(Some(reason)),
                (Err(reason), _) => State::Failed(reason),
            };
        }
        let mut retire = Vec::new();
        for (version, state) in &mut self.versions {
            match state {
                State::Ready(_) if whole && !wanted.contains(version) => {
                    *state = State::Unloading;
                    retire.push(version.clone());
                }
                State::Failed(_) if !wanted.contains(version) => *state = State::Unloaded,
                _ => {}
            }
        }
        retire
    }

    /// Unloading is requested. Returns the versions that are not to be served any more.
    pub fn unload(&mut self) -> Vec<Version> {
        self.unloaded = true;
        self.unreadable = None;
        self.job = match self.job {
            Job::Idle | Job::Queued(_) => Job::Idle,
            Job::Running { load, .. } => Job::Running {
                load,
                cancelled: true,
                next: None,
            },
        };
        let mut retire = Vec::new();
        for (version, state) in &mut self.versions {
            match state {
                State::Ready(_) => {
                    *state = State::Unloading;
                    retire.push(version.clone());
                }
                State::Loading | State::Failed(_) => *state = State::Unloaded,
                State::Unloading | State::Unloaded => {}
            }
        }
        retire
    }

    /// A version that was to be served no more has finished its last request.
    pub fn retired(&mut self, version: &str) {
        if let Some(state @ State::Unloading) = self.versions.get_mut(version) {
            *state = State::Unloaded;
        }
    }

    fn number(&mut self) -> LoadId {
        self.loads += 1;
        LoadId(self.loads)
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
