//! The served models by name, swappable while requests run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::served::Served;
use crate::telemetry::Metrics;

/// The served models. A request takes an [`Arc`] at its start and keeps the model it began with.
#[derive(Debug, Default)]
pub struct Models(ArcSwap<ModelTable>);

#[derive(Debug, Clone, Default)]
struct ModelTable {
    by_name: BTreeMap<String, Arc<Served>>,
    primary: Option<Arc<Served>>,
}

impl Models {
    /// The model that is used where no name is given: the first that was put here, under whichever version is served now.
    pub fn primary(&self) -> Option<Arc<Served>> {
        self.0.load().primary.clone()
    }

    /// The model called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Served>> {
        self.0.load().by_name.get(name).cloned()
    }

    /// All models, by name.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.0.load().by_name.values().cloned().collect()
    }

    /// Serves `served` under its name from now on; returns what was served before, which still serves the requests that it has.
    pub fn put(&self, served: Arc<Served>) -> Option<Arc<Served>> {
        let name = served.name();
        let before = self.0.rcu(|table| {
            let mut next = ModelTable::clone(table);
            next.by_name.insert(name.to_owned(), Arc::clone(&served));
            if next.primary.as_ref().is_none_or(|primary| primary.name() == name) {
                next.primary = Some(Arc::clone(&served));
            }
            next
        });
        before.by_name.get(name).cloned()
    }

    /// Reads the gauges of all queues and sessions.
    pub fn measure(&self, metrics: &Metrics) {
        let all: Vec<_> = self.all().iter().map(|served| served.snapshot()).collect();
        metrics.queue_depth(all.iter().map(|s| s.queue_depth).sum());
        metrics.admission.backlog(all.iter().map(|s| s.backlog).sum());
        metrics
            .admission
            .held(self.all().iter().map(|served| served.back_pressure().held()).sum());
        metrics.sessions("busy", all.iter().map(|s| s.sessions_busy).sum());
        metrics.sessions("idle", all.iter().map(|s| s.sessions_idle).sum());
        metrics.sessions("rebuilding", all.iter().map(|s| s.sessions_rebuilding).sum());
    }
}
