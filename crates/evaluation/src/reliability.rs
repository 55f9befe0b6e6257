//! Whether probabilities mean what they say.

use serde::{Deserialize, Serialize};

/// Bins of equal width.
const BINS: usize = 15;

/// The images whose best class has a probability within a range.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bin {
    /// The range, from above this (0 included).
    pub from: f64,
    /// To this.
    pub to: f64,
    /// Images.
    pub images: usize,
    /// Their mean probability.
    pub confidence: f64,
    /// The share of them that are right.
    pub accuracy: f64,
}

/// Mean probability and accuracy, bin by bin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Expected calibration error (Guo et al., arXiv 1706.04599): the mean of |accuracy - confidence| over the bins, weighted by their images.
    pub expected_error: f64,
    /// The largest difference of a bin that holds images.
    pub maximum_error: f64,
    /// Mean probability less accuracy over all images: above 0 the classifier is too sure.
    pub overconfidence: f64,
    /// 15 bins of equal width.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// Of pairs: the probability of the best class, and whether it is right.
    pub fn of(outcomes: impl IntoIterator<Item = (f32, bool)>) -> Self {
        let mut sums = [(0usize, 0.0f64, 0usize); BINS];
        for (probability, right) in outcomes {
            let probability = f64::from(probability).clamp(0.0, 1.0);
            let bin = ((probability * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            sums[bin].0 += 1;
            sums[bin].1 += probability;
            sums[bin].2 += usize::from(right);
        }
        let bins: Vec<Bin> = sums
            .iter()
            .enumerate()
            .map(|(i, (images, probability, right))| Bin {
                from: i as f64 / BINS as f64,
                to: (i + 1) as f64 / BINS as f64,
                images: *images,
                confidence: probability / (*images).max(1) as f64,
                accuracy: *right as f64 / (*images).max(1) as f64,
            })
            .collect();
        let all = bins.iter().map(|bin| bin.images).sum::<usize>().max(1) as f64;
        let mean = |of: &dyn Fn(&Bin) -> f64| bins.iter().map(|b| b.images as f64 * of(b)).sum::<f64>() / all;
        Self {
            expected_error: mean(&|bin| (bin.accuracy - bin.confidence).abs()),
            maximum_error: bins
                .iter()
                .map(|bin| (bin.accuracy - bin.confidence).abs())
                .fold(0.0, f64::max),
            overconfidence: mean(&|bin| bin.confidence - bin.accuracy),
            bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classifier_that_is_right_as_often_as_it_says_has_no_error() {
        let found = Reliability::of((0..8).map(|i| (0.75, i < 6)));
        assert_eq!((found.expected_error, found.bins[11].images), (0.0, 8));
    }

    #[test]
    fn being_too_sure_counts_by_bin() {
        let found = Reliability::of([(1.0, false), (1.0, true), (0.0, false), (0.5, true)]);
        assert_eq!(
            (found.bins[14].images, found.bins[0].images, found.bins[7].images),
            (2, 1, 1)
        );
        assert!((found.expected_error - 0.375).abs() < 1e-9, "{found:?}");
        assert!((found.maximum_error - 0.5).abs() < 1e-9 && (found.overconfidence - 0.125).abs() < 1e-9);
        assert_eq!(Reliability::of([]).expected_error, 0.0);
    }
}
