//! Exact intervals of a share that was counted.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// Halvings of a search for the end of an interval: more than an f64 can tell apart.
const HALVINGS: usize = 64;
/// As many trials as are considered.
const TRIALS_MAX: usize = 1 << 20;

/// From where to where a quantity lies with some confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// The exact two-sided interval of Clopper and Pearson (Biometrika 26, 1934) for the share of which `hits` of `trials` were seen: at an end,
    /// what was seen or something more extreme has a probability of half of what `confidence` leaves. 0 to 1 where nothing was tried.
    pub fn of_share(hits: usize, trials: usize, confidence: f64) -> Self {
        Self::of_counts(hits.min(trials) as f64, trials as f64, confidence)
    }

    /// The same for `k` hits of `n`, which need not be whole numbers.
    fn of_counts(k: f64, n: f64, confidence: f64) -> Self {
        let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
        // P(X >= k) = I_p(k, n - k + 1), which rises with p; P(X <= k) = 1 - I_p(k + 1, n - k).
        let low = if k <= 0.0 {
            0.0
        } else {
            crossing(|p| beta_reg(k, n - k + 1.0, p) >= tail)
        };
        let high = if k >= n {
            1.0
        } else {
            crossing(|p| beta_reg(k + 1.0, n - k, p) >= 1.0 - tail)
        };
        Self { low, high }
    }

    /// Whether a value lies within, ends included.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval of the negative quantity.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self {
            low: -self.high,
            high: -self.low,
        }
    }
}

/// The fewest trials that, where all are hits, put the lower end of [`Interval::of_share`] at `share` or above: with fewer, no outcome
/// excludes a smaller share. `None` for a share of 1, which no number of trials shows.
pub fn trials_that_show(share: f64, confidence: f64) -> Option<usize> {
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    if share <= 0.0 || tail >= 1.0 {
        return Some(0);
    }
    // All of n trials are hits with the probability share^n.
    let trials = (tail.ln() / share.ln()).ceil();
    (share < 1.0 && trials.is_finite()).then_some(trials.max(1.0) as usize)
}

/// The fewest trials whose interval has the share `wanted` outside, if `share` of them are hits. `None` where that takes more than a
/// million: both are too near.
pub fn trials_that_decide(share: f64, wanted: f64, confidence: f64) -> Option<usize> {
    let decides = |trials: usize| {
        let n = trials as f64;
        let found = Interval::of_counts((share * n).clamp(0.0, n), n, confidence);
        found.low >= wanted || found.high < wanted
    };
    let enough = (0..).map(|i| 1usize << i).take_while(|n| *n <= TRIALS_MAX);
    let mut enough = enough.into_iter().find(|trials| decides(*trials))?;
    let mut few = enough / 2;
    while enough - few > 1 {
        let middle = usize::midpoint(few, enough);
        if decides(middle) {
            enough = middle;
        } else {
            few = middle;
        }
    }
    Some(enough)
}

/// Where between 0 and 1 a condition that holds from some value on begins to hold.
fn crossing(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(hits: usize, trials: usize, low: f64, high: f64) {
        let found = Interval::of_share(hits, trials, 0.95);
        assert!(
            (found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5,
            "{found:?}"
        );
    }

    /// Values of R's `binom.test`.
    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        check(0, 0, 0.0, 1.0);
        check(0, 10, 0.0, 0.30850);
        check(10, 10, 0.69150, 1.0);
        check(25, 25, 0.86281, 1.0);
        check(7, 10, 0.34755, 0.93326);
        check(88, 100, 0.79976, 0.93643);
        check(250, 250, 0.98535, 1.0);
        check(980, 1000, 0.96925, 0.98776);
    }

    #[test]
    fn so_many_trials_show_a_share() {
        assert_eq!(trials_that_show(0.98, 0.95), Some(183));
        assert_eq!(trials_that_show(0.9, 0.95), Some(36));
        assert_eq!(trials_that_show(0.0, 0.95), Some(0));
        assert_eq!(trials_that_show(1.0, 0.95), None);
    }

    #[test]
    fn so_many_trials_decide() {
        assert_eq!(trials_that_decide(1.0, 0.98, 0.95), Some(183));
        assert_eq!(trials_that_decide(0.98, 0.98, 0.95), None);
        let check = |share: f64, trials: usize| {
            let hits = (share * trials as f64).round() as usize;
            Interval::of_share(hits, trials, 0.95)
        };
        let above = trials_that_decide(0.99, 0.98, 0.95).unwrap();
        assert!(check(0.99, above + 100).low >= 0.98 && check(0.99, above - 100).low < 0.98);
        let below = trials_that_decide(0.96, 0.98, 0.95).unwrap();
        assert!(check(0.96, below + 50).high < 0.98 && check(0.96, below - 50).high >= 0.98);
    }

    proptest! {
        #[test]
        fn an_interval_holds_what_was_seen_and_narrows_with_more(trials in 1usize..400, part in 0.0f64..=1.0, confidence in 0.5f64..0.999) {
            let hits = (part * trials as f64) as usize;
            let found = Interval::of_share(hits, trials, confidence);
            prop_assert!(found.holds(hits as f64 / trials as f64), "{found:?}");
            prop_assert!(0.0 <= found.low && found.high <= 1.0);
            let more = Interval::of_share(4 * hits, 4 * trials, confidence);
            prop_assert!(more.high - more.low <= found.high - found.low + 1e-9);
        }

        #[test]
        fn the_tails_at_the_ends_are_half_of_what_confidence_leaves(trials in 1usize..60, part in 0.0f64..=1.0) {
            let hits = (part * trials as f64) as usize;
            let Interval { low, high } = Interval::of_share(hits, trials, 0.95);
            let chance = |p: f64, k: usize| {
                let ways = (0..k).fold(1.0, |ways, i| ways * (trials - i) as f64 / (i + 1) as f64);
                ways * p.powi(k as i32) * (1.0 - p).powi((trials - k) as i32)
            };
            if hits > 0 {
                let tail: f64 = (hits..=trials).map(|k| chance(low, k)).sum();
                prop_assert!((tail - 0.025).abs() < 1e-6, "{tail}");
            }
            if hits < trials {
                let tail: f64 = (0..=hits).map(|k| chance(high, k)).sum();
                prop_assert!((tail - 0.025).abs() < 1e-6, "{tail}");
            }
        }

        #[test]
        fn one_trial_less_does_not_show_it(share in 0.01f64..0.9999, confidence in 0.5f64..0.99) {
            let trials = trials_that_show(share, confidence).unwrap();
            prop_assert!(Interval::of_share(trials, trials, confidence).low >= share - 1e-9);
            prop_assert!(trials == 1 || Interval::of_share(trials - 1, trials - 1, confidence).low < share + 1e-9);
        }
    }
}
