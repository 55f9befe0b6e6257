//! What the items of a request take.

use std::time::Duration;

use crate::cost::Estimate;
use crate::engine::Cost;

/// Preparing counts as long from so much on, or where it is longer from so many single runs.
const LONG_MIN: Duration = Duration::from_millis(20);
const LONG_RUNS: u32 = 2;

/// An item's work counts for at least so much: clients take turns even where nothing is known of what things cost.
pub(super) const WORK_MIN: Duration = Duration::from_micros(1);

/// An item to be admitted.
pub(super) struct Offered {
    pub(super) cost: Option<Cost>,
    pub(super) prepare: Estimate,
    pub(super) long: bool,
    /// Core time: preparing, and its share of a run.
    pub(super) work: Duration,
}

impl Offered {
    /// An item whose share of a run is `run`, where a run of one item takes `single`.
    pub(super) fn new(cost: Option<Cost>, prepare: Estimate, run: Duration, single: Duration) -> Self {
        Self {
            cost,
            prepare,
            long: prepare.mean >= LONG_MIN.max(single * LONG_RUNS),
            work: (prepare.mean + run).max(WORK_MIN),
        }
    }
}

/// What the items of a request take together.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) items: usize,
    pub(super) work: Duration,
    pub(super) prepare_low: Duration,
    /// Of the item that takes longest.
    pub(super) longest: Estimate,
    /// Of the items that take long to prepare.
    pub(super) long: Option<Duration>,
}

impl Sum {
    /// Of these items.
    pub(super) fn of(offered: &[Offered]) -> Self {
        let mut sum = Self::default();
        offered.iter().for_each(|item| sum.add(item));
        sum
    }

    /// Of so many items of which only the size is known: `prepare` for all of them, and a share of a run for each.
    pub(super) fn of_size(items: usize, prepare: Duration, run: Duration) -> Self {
        let each = prepare / items.max(1) as u32;
        Self {
            items,
            work: prepare.saturating_add(run * items as u32),
            prepare_low: Duration::ZERO,
            longest: Estimate {
                low: Duration::ZERO,
                mean: each,
                high: each,
            },
            long: None,
        }
    }

    /// How long preparing takes if nothing else is done.
    pub(super) fn prepare_mean(&self, workers: u32) -> Duration {
        self.longest.likely() * (self.items as u32).div_ceil(workers)
    }

    fn add(&mut self, item: &Offered) {
        self.items += 1;
        self.work += item.work;
        self.prepare_low += item.prepare.low;
        if item.prepare.mean >= self.longest.mean {
            self.longest = item.prepare;
        }
        if item.long {
            self.long = Some(self.long.unwrap_or_default() + item.prepare.mean);
        }
    }
}
