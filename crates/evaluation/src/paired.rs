//! Two classifiers on the same images: who is right where.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use crate::interval::Interval;

/// Halvings of a search for the end of an interval.
const HALVINGS: usize = 60;

/// How many images which of two classifiers has right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paired {
    /// Images that have a label.
    pub images: usize,
    /// Images that only the first has right.
    pub only_first: usize,
    /// Images that only the second has right.
    pub only_second: usize,
}

impl Paired {
    /// Counts one more image.
    pub fn add(&mut self, first_right: bool, second_right: bool) {
        self.images += 1;
        self.only_first += usize::from(first_right && !second_right);
        self.only_second += usize::from(second_right && !first_right);
    }

    /// By how much the second is right more often than the first, -1 to 1.
    pub fn difference(&self) -> f64 {
        (self.only_second as f64 - self.only_first as f64) / self.images.max(1) as f64
    }

    /// McNemar's exact test (Psychometrika 12, 1947): the probability of a split of the images that only one has right that is at least as uneven,
    /// if neither were better.
    pub fn mcnemar_p(&self) -> f64 {
        let split = (self.only_first + self.only_second) as f64;
        let fewer = self.only_first.min(self.only_second) as f64;
        if 2.0 * fewer >= split {
            return 1.0;
        }
        // P(X <= k) of n fair throws = I_1/2(n - k, k + 1).
        (2.0 * beta_reg(split - fewer, fewer + 1.0, 0.5)).min(1.0)
    }

    /// Tango's score interval of [`Self::difference`] (Statistics in Medicine 17, 1998): the differences that a score test does not reject. It
    /// keeps its confidence also where few images differ, or none. -1 to 1 where there are no images.
    pub fn interval(&self, confidence: f64) -> Interval {
        if self.images == 0 {
            return Interval { low: -1.0, high: 1.0 };
        }
        let quantile = normal_quantile(0.5 + confidence.clamp(0.0, 1.0) / 2.0);
        let estimate = self.difference();
        let end = |mut outside: f64| {
            let mut inside = estimate;
            for _ in 0..HALVINGS {
                let middle = f64::midpoint(inside, outside);
                if self.score(middle).abs() <= quantile {
                    inside = middle;
                } else {
                    outside = middle;
                }
            }
            inside
        };
        Interval {
            low: end(-1.0),
            high: end(1.0),
        }
    }

    /// How many standard deviations the counts are from what a difference of `delta` makes expected; with q the probability, most likely under
    /// that difference, that only the first is right: (c - b - n·delta) / sqrt(n·(2·q + delta·(1 - delta))).
    fn score(&self, delta: f64) -> f64 {
        let (n, first, second) = (self.images as f64, self.only_first as f64, self.only_second as f64);
        let (a, b, c) = (
            2.0 * n,
            -second - first + (2.0 * n - second + first) * delta,
            -first * delta * (1.0 - delta),
        );
        let q = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = n * (2.0 * q + delta * (1.0 - delta));
        let off = second - first - n * delta;
        if variance <= 0.0 {
            return if off == 0.0 { 0.0 } else { off.signum() * f64::INFINITY };
        }
        off / variance.sqrt()
    }
}

/// The value below which a standard normal number lies with probability `p`.
fn normal_quantile(p: f64) -> f64 {
    std::f64::consts::SQRT_2 * statrs::function::erf::erf_inv(2.0 * p - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(images: usize, only_first: usize, only_second: usize) -> Paired {
        Paired {
            images,
            only_first,
            only_second,
        }
    }

    #[test]
    fn mcnemar_is_the_sign_test_of_what_differs() {
        let check = |first, second, p: f64| assert!((of(100, first, second).mcnemar_p() - p).abs() < 1e-9);
        check(0, 0, 1.0);
        check(3, 3, 1.0);
        check(0, 5, 2.0 / 32.0);
        check(10, 1, 2.0 * 12.0 / 2048.0);
    }

    /// Values of a numerical search for the most likely probabilities under each difference.
    #[test]
    fn intervals_are_those_of_tango() {
        let check = |paired: Paired, low: f64, high: f64| {
            let found = paired.interval(0.95);
            assert!(
                (found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5,
                "{paired:?} {found:?}"
            );
        };
        check(of(44, 1, 0), -0.118_08, 0.059_39);
        check(of(100, 10, 3), -0.149_86, 0.000_77);
        check(of(1000, 25, 0), -0.036_65, -0.016_99);
        check(of(44, 0, 0), -0.080_30, 0.080_30);
        assert_eq!(of(0, 0, 0).interval(0.95), Interval { low: -1.0, high: 1.0 });
    }

    proptest! {
        #[test]
        fn an_interval_holds_the_difference_and_mirrors(images in 1usize..500, a in 0.0f64..0.5, b in 0.0f64..0.5) {
            let paired = of(images, (a * images as f64) as usize, (b * images as f64) as usize);
            let found = paired.interval(0.95);
            prop_assert!(found.holds(paired.difference()), "{found:?}");
            let other = of(images, paired.only_second, paired.only_first).interval(0.95).negated();
            prop_assert!((found.low - other.low).abs() < 1e-9 && (found.high - other.high).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&paired.mcnemar_p()));
        }

        #[test]
        fn what_the_exact_test_rejects_clearly_the_interval_excludes(images in 100usize..500, fewer in 0usize..5, more in 20usize..60) {
            let paired = of(images, more, fewer);
            prop_assert!(paired.mcnemar_p() < 0.01);
            prop_assert!(paired.interval(0.95).high < 0.0);
        }
    }
}
