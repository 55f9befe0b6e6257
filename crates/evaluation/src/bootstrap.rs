//! The bootstrap interval of a mean.

use crate::interval::Interval;

/// Samples that are drawn.
const RESAMPLES: usize = 2000;
/// So that two runs draw the same.
const SEED: u64 = 2024;

/// The percentile bootstrap interval (Efron, 1979) of the mean of `values`, such as 1 for an image that only the second classifier has right, -1 for
/// one that only the first has right, and 0. The same values give the same interval. `None` of nothing.
pub fn bootstrap_interval(values: &[i8], confidence: f64) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut mean = || {
        let sum: i64 = (0..values.len())
            .map(|_| i64::from(values[random.usize(..values.len())]))
            .sum();
        sum as f64 / values.len() as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let last = RESAMPLES - 1;
    let at = |part: f64| means[((part * last as f64).round() as usize).min(last)];
    Some(Interval {
        low: at(tail),
        high: at(1.0 - tail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_normal_distribution_where_there_is_much() {
        let values: Vec<i8> = (0..1000).map(|i| [1, -1, 0, 0][i % 4]).collect();
        let found = bootstrap_interval(&values, 0.95).unwrap();
        // 1.96 standard errors of a variance of one half.
        let expected = 1.96 * (0.5f64 / 1000.0).sqrt();
        assert!(
            (found.high - expected).abs() < 0.005 && (found.low + expected).abs() < 0.005,
            "{found:?}"
        );
        assert_eq!(bootstrap_interval(&values, 0.95), Some(found));
    }

    #[test]
    fn what_never_varies_has_no_width() {
        assert_eq!(
            bootstrap_interval(&[1, 1], 0.95),
            Some(Interval { low: 1.0, high: 1.0 })
        );
        assert_eq!(bootstrap_interval(&[], 0.95), None);
    }
}
