//! Who was told to come back later, and until when that holds.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// How many are remembered. Where there are more, the one that may come back soonest is forgotten.
const REMEMBERED_MAX: usize = 16_384;

/// Keys with a time each, until which they count.
#[derive(Debug)]
pub(super) struct Marks<K> {
    until: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Marks<K> {
    fn default() -> Self {
        Self {
            until: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Eq + Hash + Ord> Marks<K> {
    /// Marks `key` until then, in place of until when it was marked before. Forgets marks whose time has passed.
    pub(super) fn set(&mut self, key: K, until: Instant, now: Instant) {
        if let Some(before) = self.until.insert(key, until) {
            self.order.remove(&(before, key));
        }
        self.order.insert((until, key));
        while let Some((soonest, key)) = self.order.first().copied()
            && (soonest <= now || self.order.len() > REMEMBERED_MAX)
        {
            self.order.remove(&(soonest, key));
            self.until.remove(&key);
        }
    }

    /// Until when `key` is marked, if it is now.
    pub(super) fn until(&self, key: &K, now: Instant) -> Option<Instant> {
        self.until.get(key).copied().filter(|until| *until > now)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.until.len(), self.order.len());
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_mark_counts_until_its_time() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        marks.set(1, start + S, start);
        marks.set(2, start + 2 * S, start);
        assert_eq!(marks.until(&1, start), Some(start + S));
        assert_eq!(marks.until(&1, start + S), None);
        assert_eq!(marks.until(&3, start), None);
        marks.set(1, start + 3 * S, start);
        assert_eq!((marks.until(&1, start + S), marks.len()), (Some(start + 3 * S), 2));
        marks.set(4, start + 9 * S, start + 2 * S);
        assert_eq!(marks.len(), 2);
    }

    #[test]
    fn no_more_are_remembered_than_a_bound() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        for key in 0..REMEMBERED_MAX as u32 + 10 {
            marks.set(key, start + S + key * Duration::from_micros(1), start);
        }
        assert_eq!(marks.len(), REMEMBERED_MAX);
        assert_eq!(marks.until(&9, start), None);
        assert!(marks.until(&10, start).is_some());
    }
}
