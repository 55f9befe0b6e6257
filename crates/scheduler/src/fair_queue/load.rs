//! Work that waits in an order, and how much more may come before it.

use std::ops::Add;
use std::time::Duration;

/// The work of an item, or of several in a row, and the work that may come before them without making one of them late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) work: Duration,
    /// Nanoseconds; [`FREE`] where nothing can be late.
    room_ns: i64,
}

const FREE: i64 = i64::MAX;

impl Default for Load {
    fn default() -> Self {
        Self {
            work: Duration::ZERO,
            room_ns: FREE,
        }
    }
}

impl Load {
    /// An item; `room` is counted from where the whole order begins, the work before the item included.
    pub(super) fn new(work: Duration, room: Option<Duration>) -> Self {
        Self {
            work,
            room_ns: room.map_or(FREE, nanos),
        }
    }

    /// What may come before these, which begin at `position` from where the order begins; `None` where nothing can be late.
    pub(super) fn room_at(&self, position: Duration) -> Option<Duration> {
        let left = self.room_ns.saturating_sub(nanos(position)).max(0);
        (self.room_ns != FREE).then(|| Duration::from_nanos(left.unsigned_abs()))
    }
}

/// These items, then those of `after`, which have less room by the work of these.
impl Add for Load {
    type Output = Self;

    fn add(self, after: Self) -> Self {
        let room_after = if after.room_ns == FREE {
            FREE
        } else {
            after.room_ns.saturating_sub(nanos(self.work))
        };
        Self {
            work: self.work + after.work,
            room_ns: self.room_ns.min(room_after),
        }
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(FREE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn work_before_leaves_less_room() {
        let items = Load::new(10 * MS, None) + Load::new(10 * MS, Some(25 * MS)) + Load::new(5 * MS, Some(22 * MS));
        assert_eq!(items.work, 25 * MS);
        assert_eq!(items.room_at(Duration::ZERO), Some(2 * MS));
        assert_eq!(items.room_at(MS), Some(MS));
        assert_eq!(items.room_at(3 * MS), Some(Duration::ZERO));
        assert_eq!((Load::new(MS, None) + Load::default()).room_at(MS), None);
    }

    fn load() -> impl Strategy<Value = Load> {
        (0_u32..100, prop::option::of(0_u32..100)).prop_map(|(work, room)| Load::new(work * MS, room.map(|ms| ms * MS)))
    }

    proptest! {
        #[test]
        fn items_may_be_joined_in_any_grouping([a, b, c] in [load(), load(), load()]) {
            prop_assert_eq!((a + b) + c, a + (b + c));
            prop_assert_eq!(a + Load::default(), a);
            prop_assert_eq!(Load::default() + a, a);
        }
    }
}
