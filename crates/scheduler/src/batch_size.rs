//! How many items a narrow run takes at most, found out while it serves: what a batch saves depends on the machine and on what else it does, and
//! shows under load.
//!
//! Now and then the size in use is compared with twice or half as many, a few runs of each in turn. What takes less core time an item, by the
//! medians, is used from then on: a larger size where it saves [`GAIN_MIN`], a smaller one, for which others wait less, where it costs no more
//! than [`LOSS_MAX`]. While nothing changes, comparisons become rare.

use std::time::Duration;

/// Runs of each of two sizes that are compared, and runs of one before it is the other's turn.
const RUNS: usize = 12;
const TURN: usize = 4;
/// A comparison ends without a result after so many runs: the queue does not fill the batches.
const RUNS_MAX: usize = 6 * RUNS;
/// Core time an item in the size in use, by that in the other, from which on a larger or a smaller one is used.
const GAIN_MIN: f64 = 1.03;
const LOSS_MAX: f64 = 0.99;
/// Full runs before a comparison, at least and at most.
const PAUSE_MIN: usize = 24;
const PAUSE_MAX: usize = 3000;
/// A run of more than one item takes no longer: what comes just after its start waits as long.
const RUN_MAX: Duration = Duration::from_millis(100);

/// The size in use, and its comparison with another.
#[derive(Debug)]
pub(crate) struct BatchSize {
    used: usize,
    /// The largest that is tried; `None`: none is.
    limit: Option<usize>,
    /// Whether a larger size is compared next.
    larger: bool,
    /// Full runs before the next comparison, and before the one after it.
    left: usize,
    pause: usize,
    comparison: Option<Comparison>,
}

#[derive(Debug)]
struct Comparison {
    tried: usize,
    runs: usize,
    /// Seconds an item in runs of the size in use, and of the other.
    used_s: Vec<f64>,
    tried_s: Vec<f64>,
}

impl BatchSize {
    /// Starts with `used` items, and tries others up to `limit`; none where that is `None`.
    pub(crate) fn new(used: usize, limit: Option<usize>) -> Self {
        let used = used.max(1);
        Self {
            used,
            limit: limit.map(|limit| limit.max(used)).filter(|limit| *limit > 1),
            larger: true,
            left: PAUSE_MIN,
            pause: PAUSE_MIN,
            comparison: None,
        }
    }

    /// Items in a run, as predictions count on them.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Items in the next run at most.
    pub(crate) fn next(&self) -> usize {
        match &self.comparison {
            Some(comparison) if comparison.is_turn_of_tried() => comparison.tried,
            _ => self.used,
        }
    }

    /// A run of `items` took `time`. `calm`: nobody's deadline is at risk where runs take longer for a while. `expected`: what a run of so many
    /// items takes.
    pub(crate) fn ran(&mut self, items: usize, time: Duration, calm: bool, expected: impl Fn(usize) -> Duration) {
        let Some(limit) = self.limit else {
            return;
        };
        match &mut self.comparison {
            Some(_) if !calm => self.end(false),
            Some(comparison) => {
                comparison.add(items, self.used, time);
                if let Some(gain) = comparison.gain() {
                    self.conclude(gain);
                } else if comparison.runs >= RUNS_MAX {
                    self.end(false);
                }
            }
            None if calm && items == self.used => {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    self.begin(limit, expected);
                }
            }
            None => {}
        }
    }

    fn begin(&mut self, limit: usize, expected: impl Fn(usize) -> Duration) {
        let possible = |size: usize| (1..=limit).contains(&size) && (size == 1 || expected(size) <= RUN_MAX);
        let other = |larger: bool| if larger { self.used * 2 } else { self.used / 2 };
        if !possible(other(self.larger)) {
            self.larger = !self.larger;
        }
        let tried = other(self.larger);
        if possible(tried) {
            self.comparison = Some(Comparison::new(tried));
        } else {
            self.end(false);
        }
    }

    fn conclude(&mut self, gain: f64) {
        let tried = self
            .comparison
            .as_ref()
            .map_or(self.used, |comparison| comparison.tried);
        let better = gain >= if tried > self.used { GAIN_MIN } else { LOSS_MAX };
        if better {
            self.used = tried;
        }
        self.end(better);
    }

    /// After a change the next size in that direction is compared soon, otherwise one in the other direction, and later.
    fn end(&mut self, changed: bool) {
        self.comparison = None;
        if changed {
            self.pause = PAUSE_MIN;
        } else {
            self.larger = !self.larger;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.left = self.pause;
    }
}

impl Comparison {
    fn new(tried: usize) -> Self {
        Self {
            tried,
            runs: 0,
            used_s: Vec::with_capacity(RUNS_MAX),
            tried_s: Vec::with_capacity(RUNS_MAX),
        }
    }

    fn is_turn_of_tried(&self) -> bool {
        (self.runs / TURN).is_multiple_of(2)
    }

    fn add(&mut self, items: usize, used: usize, time: Duration) {
        self.runs += 1;
        let item_s = time.as_secs_f64() / items.max(1) as f64;
        if items == used {
            self.used_s.push(item_s);
        } else if items == self.tried {
            self.tried_s.push(item_s);
        }
    }

    /// Time an item in the size in use, by that in the other; `None` before there are enough runs of both.
    fn gain(&mut self) -> Option<f64> {
        let enough = self.used_s.len().min(self.tried_s.len()) >= RUNS;
        enough.then(|| median(&mut self.used_s) / median(&mut self.tried_s).max(f64::MIN_POSITIVE))
    }
}

/// The median of at least one value.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Runs full batches that take what `time` says, in milliseconds; returns the size in use in the end.
    #[track_caller]
    fn serve(size: &mut BatchSize, runs: usize, time: impl Fn(usize) -> f64) -> usize {
        for run in 0..runs {
            // Every fifth run is disturbed.
            let disturbed = if run % 5 == 0 { 1.3 } else { 1.0 };
            let items = size.next();
            let took = MS.mul_f64(time(items) * disturbed);
            size.ran(items, took, true, |items| MS.mul_f64(time(items)));
        }
        size.used()
    }

    #[test]
    fn the_size_grows_as_far_as_it_saves_time_and_shrinks_where_it_does_not() {
        let saves_two = |items: usize| if items == 1 { 24.0 } else { 21.0 * items as f64 };
        assert_eq!(serve(&mut BatchSize::new(1, Some(8)), 600, saves_two), 2);
        assert_eq!(serve(&mut BatchSize::new(8, Some(8)), 600, saves_two), 2);
        assert_eq!(serve(&mut BatchSize::new(2, Some(8)), 600, |items| items as f64), 1);
        assert_eq!(
            serve(&mut BatchSize::new(1, Some(16)), 900, |items| 1.0 + 0.1 * items as f64),
            16
        );
    }

    #[test]
    fn what_changes_later_is_found_out() {
        let mut size = BatchSize::new(1, Some(4));
        assert_eq!(serve(&mut size, 10_000, |items| items as f64), 1);
        assert_eq!(serve(&mut size, 10_000, |items| 2.0 + items as f64), 4);
    }

    #[test]
    fn comparisons_become_rare() {
        let mut size = BatchSize::new(2, Some(4));
        let time = |items: usize| if items == 2 { 20.0 } else { 11.0 * items as f64 };
        serve(&mut size, 20_000, time);
        let mut other = 0;
        for _ in 0..20_000 {
            other += usize::from(size.next() != 2);
            serve(&mut size, 1, time);
        }
        assert!(other < 200, "{other}");
    }

    #[test]
    fn runs_of_more_than_one_item_stay_short_and_within_the_limit() {
        assert_eq!(
            serve(&mut BatchSize::new(1, Some(8)), 600, |items| 60.0 + 50.0 * items as f64),
            1
        );
        assert_eq!(
            serve(&mut BatchSize::new(1, Some(3)), 600, |items| 20.0 + items as f64),
            2
        );
        assert_eq!(serve(&mut BatchSize::new(3, None), 600, |items| items as f64), 3);
    }

    #[test]
    fn nothing_is_tried_where_deadlines_are_at_risk_or_batches_do_not_fill() {
        let mut size = BatchSize::new(1, Some(8));
        for _ in 0..600 {
            assert_eq!(size.next(), 1);
            size.ran(1, MS, false, |_| MS);
        }
        for _ in 0..600 {
            size.ran(1, MS, true, |_| MS);
        }
        assert_eq!(size.used(), 1);
        serve(&mut size, 30, |items| items as f64);
        size.ran(1, MS, false, |_| MS);
        assert_eq!(size.next(), 1);
    }
}
