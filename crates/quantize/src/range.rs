//! From a distribution of real values to the range that 256 steps cover with the least error.
//!
//! Real value = (q − zero point) · scale, q from 0 to 255. The range always holds zero, which is exact: it is what a
//! convolution pads with and what a ReLU makes of half its inputs. A range narrower than the extremes clips outliers
//! and makes every step finer; which pays is decided on the histogram, by the error's `power`: 2 is the squared error
//! (Nagel et al., arXiv 2106.08295, section 3.1), 1 the absolute error, which lets outliers go more easily
//! (arXiv 2402.16121).

use serde::{Deserialize, Serialize, Serializer};

/// Steps that an 8-bit value counts.
const STEPS: f64 = 255.0;
/// Bins of a histogram.
const BINS: usize = 4096;
/// Widths that a search tries for each end.
const TRIALS: usize = 128;

/// The real values that the quantized values 0 and 255 stand for; `low <= 0 <= high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// What 0 stands for, before zero is made exact.
    #[serde(serialize_with = "shortest")]
    pub low: f32,
    /// What 255 stands for, before zero is made exact.
    #[serde(serialize_with = "shortest")]
    pub high: f32,
}

/// Writes the fewest digits that give the same f32 again.
fn shortest<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_string().parse().unwrap_or_default())
}

/// Scale and zero point of a quantized value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// A step, in the value's own unit.
    pub scale: f32,
    /// The quantized value that stands for zero.
    pub zero_point: u8,
}

impl Range {
    /// Scale and zero point. A range of nothing gets the scale 1.
    pub fn affine(self) -> Affine {
        let span = f64::from(self.high) - f64::from(self.low);
        if span <= 0.0 {
            return Affine {
                scale: 1.0,
                zero_point: 0,
            };
        }
        let scale = (span / STEPS).max(f64::from(f32::MIN_POSITIVE)) as f32;
        Affine {
            scale,
            zero_point: (-f64::from(self.low) / f64::from(scale)).round().clamp(0.0, STEPS) as u8,
        }
    }
}

/// The steps that a value of 16 bits counts.
const STEPS_WIDE: f64 = 65535.0;

impl Range {
    /// Scale and zero point of 16 bits, from zero up. A range of nothing gets the scale 1.
    pub(super) fn affine_wide(self) -> Affine {
        let scale = f64::from(self.high) / STEPS_WIDE;
        Affine {
            scale: if scale > 0.0 {
                (scale as f32).max(f32::MIN_POSITIVE)
            } else {
                1.0
            },
            zero_point: 0,
        }
    }
}

/// How often values fall where, between two known ends. Exact zeros are counted apart: no range gets them wrong.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    low: f64,
    high: f64,
    bins: Vec<u64>,
}

impl Histogram {
    /// An empty histogram for values from `low` to `high`, both widened to hold zero.
    pub(super) fn new(low: f32, high: f32) -> Self {
        Self {
            low: f64::from(low.min(0.0)),
            high: f64::from(high.max(0.0)),
            bins: vec![0; BINS],
        }
    }

    /// Counts values; those beyond an end count at it, those that are not numbers not at all.
    pub(super) fn add(&mut self, values: &[f32]) {
        let per_value = BINS as f64 / (self.high - self.low).max(f64::MIN_POSITIVE);
        for value in values.iter().filter(|v| **v != 0.0 && !v.is_nan()) {
            let bin = ((f64::from(*value) - self.low) * per_value).clamp(0.0, BINS as f64 - 1.0);
            self.bins[bin as usize] += 1;
        }
    }

    /// The range from the smallest to the largest value.
    pub(super) fn whole(&self) -> Range {
        Range {
            low: self.low as f32,
            high: self.high as f32,
        }
    }

    /// The range with the least sum of |error|^`power`.
    pub(super) fn range(&self, power: f64) -> Range {
        let mut best = [self.low, self.high];
        let mut least = self.error(best, power);
        for _ in 0..2 {
            for end in [1, 0] {
                let widest = [self.low, self.high][end];
                for trial in 1..TRIALS {
                    let mut range = best;
                    range[end] = widest * trial as f64 / TRIALS as f64;
                    let error = self.error(range, power);
                    if error < least {
                        (best, least) = (range, error);
                    }
                }
            }
        }
        Range {
            low: best[0] as f32,
            high: best[1] as f32,
        }
    }

    fn error(&self, [low, high]: [f64; 2], power: f64) -> f64 {
        if self.bins.iter().all(|n| *n == 0) {
            return 0.0;
        }
        if high - low <= 0.0 {
            return f64::INFINITY;
        }
        let scale = (high - low) / STEPS;
        let zero = (-low / scale).round();
        let width = (self.high - self.low) / BINS as f64;
        let mut sum = 0.0;
        for (i, count) in self.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
            let value = self.low + (i as f64 + 0.5) * width;
            let quantized = ((value / scale).round() + zero).clamp(0.0, STEPS);
            let off = (value - (quantized - zero) * scale).abs();
            let error = if power == 2.0 { off * off } else { off.powf(power) };
            sum += error * *count as f64;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f32]) -> Histogram {
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let mut histogram = Histogram::new(low, high);
        histogram.add(values);
        histogram
    }

    fn round_trip(range: Range, value: f32) -> f32 {
        let Affine { scale, zero_point } = range.affine();
        let quantized = ((value / scale).round() + f32::from(zero_point)).clamp(0.0, 255.0);
        (quantized - f32::from(zero_point)) * scale
    }

    #[test]
    fn evenly_spread_values_keep_their_whole_range() {
        let values: Vec<f32> = (1..=1000).map(|i| i as f32 / 100.0).collect();
        let range = of(&values).range(2.0);
        assert_eq!(range.low, 0.0);
        assert!(range.high > 9.8, "{range:?}");
    }

    #[test]
    fn one_outlier_among_many_is_clipped() {
        let mut values: Vec<f32> = (1..=100_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        values.push(40.0);
        let squared = of(&values).range(2.0);
        let absolute = of(&values).range(1.0);
        assert!(squared.high < 40.0, "{squared:?}");
        assert!(absolute.high < squared.high, "{absolute:?} {squared:?}");
    }

    #[test]
    fn values_that_are_not_numbers_do_not_count() {
        let mut histogram = Histogram::new(0.0, 1.0);
        histogram.add(&[f32::NAN, f32::INFINITY, -3.0]);
        assert_eq!(histogram.bins.iter().sum::<u64>(), 2);
    }

    #[test]
    fn nothing_seen_is_a_usable_range() {
        let affine = Histogram::new(0.0, 0.0).range(2.0).affine();
        assert_eq!(
            affine,
            Affine {
                scale: 1.0,
                zero_point: 0
            }
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn zero_is_exact_and_the_inside_is_half_a_step_away(low in -50.0f32..0.0, span in 0.01f32..90.0, at in 0.0f32..1.0) {
            let range = Range { low, high: (low + span).max(0.0) };
            prop_assert_eq!(round_trip(range, 0.0), 0.0);
            let scale = range.affine().scale;
            let value = range.low + at * (range.high - range.low);
            prop_assert!((round_trip(range, value) - value).abs() <= scale * 1.001 , "{} {}", value, round_trip(range, value));
        }

        #[test]
        fn no_search_is_worse_than_the_extremes(values in proptest::collection::vec(-9.0f32..30.0, 1..200), power in 1.0f64..3.0) {
            let histogram = of(&values);
            let found = histogram.range(power);
            let error = |r: [f64; 2]| histogram.error(r, power);
            prop_assert!(error([found.low.into(), found.high.into()]) <= error([histogram.low, histogram.high]) * 1.0001 + 1e-9);
        }
    }
}
