//! What a scheduler knows of those with which it shares its workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What another one has to do, as far as it concerns this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OtherWork {
    /// Core time of all that it has admitted.
    pub(crate) admitted: Duration,
    /// Core time that is left of what its workers are at.
    pub(crate) in_service: Duration,
    /// Its weight over that of the one that asks.
    pub(crate) weight: f64,
}

/// What the others do, and have to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Others {
    /// Workers that work for others.
    pub(crate) busy: usize,
    /// Whether others have something that could be started.
    pub(crate) startable: bool,
    /// What they have to do.
    pub(crate) work: Vec<OtherWork>,
}

impl Others {
    /// Whether they need no worker.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy == 0 && !self.startable && self.work.iter().all(|other| other.admitted.is_zero())
    }

    /// Core time of others that goes before `work` of one's own is done: what their workers are at, and no more than their share of the workers
    /// meanwhile.
    pub(crate) fn ahead(&self, work: Duration) -> Duration {
        let ahead = |other: &OtherWork| {
            let share = other.in_service + work.mul_f64(other.weight);
            share.min(other.admitted)
        };
        self.work.iter().map(ahead).sum()
    }
}

/// What one has to do, for the others to read without a lock.
#[derive(Debug, Default)]
pub(crate) struct Published {
    admitted_ns: AtomicU64,
    in_service_ns: AtomicU64,
}

impl Published {
    /// Tells the others.
    pub(crate) fn set(&self, admitted: Duration, in_service: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.admitted_ns.store(nanos(admitted), Ordering::Relaxed);
        self.in_service_ns.store(nanos(in_service), Ordering::Relaxed);
    }

    /// What one that has a weight of 1 over `weight` knows of it; `None` where it has nothing to do.
    pub(crate) fn get(&self, weight: f64) -> Option<OtherWork> {
        let admitted = Duration::from_nanos(self.admitted_ns.load(Ordering::Relaxed));
        (!admitted.is_zero()).then(|| OtherWork {
            admitted,
            in_service: Duration::from_nanos(self.in_service_ns.load(Ordering::Relaxed)),
            weight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn others_go_first_with_no_more_than_their_share() {
        let published = Published::default();
        assert_eq!(published.get(1.0), None);
        published.set(100 * MS, 5 * MS);
        let others = |weight| Others {
            work: published.get(weight).into_iter().collect(),
            ..Others::default()
        };
        assert!(Others::default().is_idle() && !others(1.0).is_idle());
        assert_eq!(Others::default().ahead(10 * MS), Duration::ZERO);
        assert_eq!(others(1.0).ahead(10 * MS), 15 * MS);
        assert_eq!(others(2.0).ahead(10 * MS), 25 * MS);
        assert_eq!(others(1.0).ahead(500 * MS), 100 * MS);
    }
}
