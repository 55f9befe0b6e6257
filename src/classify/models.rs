//! The served models by name and version, swappable while requests run.

use std::cmp::Ordering;
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
    by_name: BTreeMap<String, BTreeMap<VersionKey, Arc<Served>>>,
    /// The model that is used where no name is given; not set: the only one.
    default: Option<Option<String>>,
}

/// A version, in the order of [`compare_versions`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct VersionKey(String);

impl Ord for VersionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_versions(&self.0, &other.0)
    }
}

impl PartialOrd for VersionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of versions: numbers by their value, and before other words.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let key = |version: &str| version.parse::<u64>().map_or((true, 0), |number| (false, number));
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

impl ModelTable {
    fn newest(&self, name: &str) -> Option<&Arc<Served>> {
        self.by_name.get(name)?.values().next_back()
    }

    fn default_name(&self) -> Option<&String> {
        match &self.default {
            Some(default) => default.as_ref(),
            None => self.by_name.keys().next().filter(|_| self.by_name.len() == 1),
        }
    }
}

impl Models {
    /// The model that is used where no name is given, in its newest version.
    pub fn primary(&self) -> Option<Arc<Served>> {
        let table = self.0.load();
        table.newest(table.default_name()?).cloned()
    }

    /// The name of the model that is used where none is given, where there is one.
    pub fn default_name(&self) -> Option<String> {
        self.0.load().default_name().cloned()
    }

    /// From now on this model is used where no name is given; `None`: none.
    pub fn set_default(&self, name: Option<String>) {
        self.0.rcu(|table| ModelTable {
            default: Some(name.clone()),
            ..ModelTable::clone(table)
        });
    }

    /// The model called `name`, in a version or in the newest that is served.
    pub fn get(&self, name: &str, version: Option<&str>) -> Option<Arc<Served>> {
        let table = self.0.load();
        match version {
            None => table.newest(name).cloned(),
            Some(version) => {
                let versions = table.by_name.get(name)?;
                versions.get(&VersionKey(version.to_owned())).cloned()
            }
        }
    }

    /// The versions of a model that are served, ascending.
    pub fn versions(&self, name: &str) -> Vec<String> {
        let table = self.0.load();
        let versions = table.by_name.get(name).into_iter().flat_map(BTreeMap::keys);
        versions.map(|version| version.0.clone()).collect()
    }

    /// All versions of all models, by name.
    pub fn all(&self) -> Vec<Arc<Served>> {
        let table = self.0.load();
        table.by_name.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Serves `served` under its name and version from now on; returns what was served so before, which still serves the requests that
    /// it has.
    pub fn put(&self, served: Arc<Served>) -> Option<Arc<Served>> {
        let (name, version) = (served.name().to_owned(), VersionKey(served.version().to_owned()));
        let before = self.0.rcu(|table| {
            let mut next = ModelTable::clone(table);
            let versions = next.by_name.entry(name.clone()).or_default();
            versions.insert(version.clone(), Arc::clone(&served));
            next
        });
        before.by_name.get(&name)?.get(&version).cloned()
    }

    /// Serves a version no more; returns it.
    pub fn remove(&self, name: &str, version: &str) -> Option<Arc<Served>> {
        let version = VersionKey(version.to_owned());
        let before = self.0.rcu(|table| {
            let mut next = ModelTable::clone(table);
            if let Some(versions) = next.by_name.get_mut(name) {
                versions.remove(&version);
                if versions.is_empty() {
                    next.by_name.remove(name);
                }
            }
            next
        });
        before.by_name.get(name)?.get(&version).cloned()
    }

    /// Reads the gauges of all queues and sessions.
    pub fn measure(&self, metrics: &Metrics) {
        let measured = |served: &Arc<Served>| {
            let snapshot = served.snapshot();
            let model = &metrics.model;
            model.waiting(served.name(), served.version(), snapshot.queue_depth, snapshot.backlog);
            snapshot
        };
        let all: Vec<_> = self.all().iter().map(measured).collect();
        metrics.queue_depth(all.iter().map(|s| s.queue_depth).sum());
        metrics.admission.backlog(all.iter().map(|s| s.backlog).sum());
        metrics
            .admission
            .held(self.all().iter().map(|served| served.back_pressure().held()).sum());
        metrics.sessions("busy", all.iter().map(|s| s.sessions_busy).sum());
        metrics.sessions("idle", all.iter().map(|s| s.sessions_idle).sum());
        metrics.sessions("rebuilding", all.iter().map(|s| s.sessions_rebuilding).sum());
    }

    /// Sets the metrics of what is served, and of how exact it is.
    pub fn publish(&self, metrics: &Metrics) {
        let all = self.all();
        all.iter().for_each(|served| served.publish(&metrics.model));
        let infos: Vec<_> = all.iter().map(|served| served.info()).collect();
        metrics.model.served(&infos);
        metrics.queue_capacity(all.iter().map(|served| served.queue_capacity()).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_comes_after_nine_and_words_after_numbers() {
        let mut versions = ["10", "b", "9", "a", "1.0"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(versions, ["9", "10", "1.0", "a", "b"]);
    }
}
