//! What is known of one model: its state, what is served of it, and who waits for it.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::error::Refused;
use super::lifecycle::{Lifecycle, LoadId, State};
use super::scan::Fingerprint;
use crate::classify::compare_versions;

/// The state in the index of a version that is served.
pub const READY: &str = "READY";

/// A version of a model, for the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The model.
    pub name: String,
    /// The version; empty where none is known.
    pub version: String,
    /// What it is doing, as the protocol's extension calls it.
    pub state: &'static str,
    /// Why it is not served, or newer files of it are not.
    pub reason: String,
}

/// Tells one who waits for a load how it went.
pub(super) type Answer = oneshot::Sender<Result<(), Refused>>;

/// What is known of one model.
#[derive(Default)]
pub(super) struct Model {
    pub(super) lifecycle: Lifecycle,
    pub(super) required: bool,
    pub(super) serving: BTreeMap<String, Option<Fingerprint>>,
    pub(super) waiting: Vec<(LoadId, Answer)>,
}

impl Model {
    /// Tells those that wait for some of the loads.
    pub(super) fn answer(&mut self, which: impl Fn(LoadId) -> bool, answer: &Result<(), Refused>) {
        let (answered, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(load, _)| which(*load));
        self.waiting = waiting;
        let answered: Vec<(LoadId, Answer)> = answered;
        for (_, waits) in answered {
            let _ = waits.send(answer.clone());
        }
    }

    /// Why it is not served, or newer files of it are not.
    pub(super) fn reason(&self) -> Option<String> {
        let of_versions = self.lifecycle.versions().values().find_map(|state| match state {
            State::Failed(reason) | State::Ready(Some(reason)) => Some(reason.as_str()),
            _ => None,
        });
        self.lifecycle.unreadable().or(of_versions).map(str::to_owned)
    }

    pub(super) fn entries(&self, name: &str) -> Vec<Entry> {
        let entry = |version: &str, state, reason: &str| Entry {
            name: name.to_owned(),
            version: version.to_owned(),
            state,
            reason: reason.to_owned(),
        };
        let unreadable = self.lifecycle.unreadable();
        let each = |(version, state): (&String, &State)| match state {
            State::Ready(reason) => entry(version, READY, reason.as_deref().or(unreadable).unwrap_or_default()),
            State::Loading => entry(version, "LOADING", ""),
            State::Unloading => entry(version, "UNLOADING", ""),
            State::Failed(reason) => entry(version, "UNAVAILABLE", reason),
            State::Unloaded => entry(version, "UNAVAILABLE", "unloaded"),
        };
        let mut entries: Vec<Entry> = self.lifecycle.versions().iter().map(each).collect();
        entries.sort_by(|a, b| compare_versions(&a.version, &b.version));
        if entries.is_empty() {
            let state = if self.lifecycle.is_loading() {
                "LOADING"
            } else {
                "UNAVAILABLE"
            };
            entries.push(entry("", state, unreadable.unwrap_or_default()));
        }
        entries
    }
}
