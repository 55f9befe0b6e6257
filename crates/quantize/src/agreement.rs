//! How far the outputs of an int8 graph are from those of its fp32 graph.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// int8 against fp32 on some images.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Images compared.
    pub images: usize,
    /// Share of images whose best class is the same, 0 to 1.
    pub top1_agreement: f64,
    /// The share that is to be expected of other images with as much noise, 0 to 1. It moves less from one set of images to
    /// another than the counted one: a count knows only who crossed the line, this also how near the others are.
    pub top1_agreement_expected: f64,
    /// Mean Kullback-Leibler divergence of the int8 probabilities from the fp32 ones, nats.
    pub kl_divergence: f64,
    /// Signal-to-noise ratio of the outputs, dB.
    pub snr_db: f64,
}

impl Agreement {
    /// Images whose best class is another.
    pub fn differing(&self) -> usize {
        (self.images as f64 * (1.0 - self.top1_agreement)).round() as usize
    }
}

/// Compares rows of logits (or of probabilities) of the same images. A row of one value is one of two classes.
pub fn compare(fp32: &[Vec<f32>], int8: &[Vec<f32>], probabilities: bool) -> Agreement {
    let pairs: Vec<_> = fp32
        .iter()
        .zip(int8)
        .filter(|(a, b)| a.len() == b.len() && !a.is_empty())
        .map(|(a, b)| (classes(a, probabilities), classes(b, probabilities)))
        .collect();
    let images = pairs.len();
    let share = |sum: f64| if images == 0 { 0.0 } else { sum / images as f64 };
    let same = pairs.iter().filter(|(a, b)| best(a) == best(b)).count();
    let divergence = pairs.iter().map(|(a, b)| divergence(a, b, probabilities)).sum::<f64>();
    let margins: Vec<(f64, f64)> = pairs.iter().filter_map(|(a, b)| margin(a, b)).collect();
    let noise = (margins.iter().map(|(_, n)| n * n).sum::<f64>() / margins.len().max(1) as f64).sqrt();
    let flips = margins
        .iter()
        .map(|(m, _)| upper_tail(m / noise.max(f64::MIN_POSITIVE)))
        .sum::<f64>();
    let mut snr = Snr::default();
    pairs.iter().for_each(|(a, b)| snr.add(a, b));
    Agreement {
        images,
        top1_agreement: share(same as f64),
        top1_agreement_expected: if images == 0 { 0.0 } else { 1.0 - share(flips) },
        kl_divergence: share(divergence),
        snr_db: snr.db(),
    }
}

/// Signal-to-noise ratio of values that are given pair by pair. Of the signal only what varies counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Snr {
    count: f64,
    sum: f64,
    squares: f64,
    noise: f64,
}

impl Snr {
    /// Takes more values into account.
    pub(super) fn add(&mut self, exact: &[f32], noisy: &[f32]) {
        for (exact, noisy) in exact.iter().zip(noisy) {
            let (exact, noisy) = (f64::from(*exact), f64::from(*noisy));
            self.count += 1.0;
            self.sum += exact;
            self.squares += exact * exact;
            self.noise += (exact - noisy) * (exact - noisy);
        }
    }

    /// The ratio, dB; at most 200, and 0 where there is no signal.
    pub(super) fn db(&self) -> f64 {
        let signal = self.squares - self.sum * self.sum / self.count.max(1.0);
        if !self.noise.is_finite() || !signal.is_finite() || signal <= 0.0 {
            return 0.0;
        }
        (10.0 * (signal / self.noise.max(f64::MIN_POSITIVE)).log10()).min(200.0)
    }
}

/// A value a class.
fn classes(row: &[f32], probabilities: bool) -> Cow<'_, [f32]> {
    match row {
        [second] if probabilities => Cow::Owned(vec![1.0 - second, *second]),
        [second] => Cow::Owned(vec![0.0, *second]),
        row => Cow::Borrowed(row),
    }
}

/// The best class of a row of logits or probabilities; the first of equal ones.
pub(super) fn best_class(row: &[f32], probabilities: bool) -> usize {
    best(&classes(row, probabilities))
}

fn best(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// How far the best class is ahead of the second, and by how much that changed.
fn margin(exact: &[f32], noisy: &[f32]) -> Option<(f64, f64)> {
    let first = best(exact);
    let second = (0..exact.len())
        .filter(|i| *i != first)
        .max_by(|a, b| exact[*a].total_cmp(&exact[*b]))?;
    let ahead = |row: &[f32]| f64::from(row[first]) - f64::from(row[second]);
    Some((ahead(exact), ahead(noisy) - ahead(exact)))
}

fn divergence(exact: &[f32], noisy: &[f32], probabilities: bool) -> f64 {
    let of = |row: &[f32]| {
        if probabilities {
            logarithms(row)
        } else {
            log_softmax(row)
        }
    };
    let terms = of(exact).into_iter().zip(of(noisy));
    terms.map(|(p, q)| p.exp() * (p - q)).sum::<f64>().max(0.0)
}

fn logarithms(row: &[f32]) -> Vec<f64> {
    row.iter().map(|p| f64::from(*p).max(1e-12).ln()).collect()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|v| f64::from(v - most).exp()).sum();
    row.iter().map(|v| f64::from(v - most) - total.ln()).collect()
}

/// Probability that a standard normal number exceeds `z`.
fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_outputs_agree_fully() {
        let rows = vec![vec![1.0, 3.0, 2.0], vec![0.0, -1.0, 5.0]];
        let same = compare(&rows, &rows, false);
        assert_eq!((same.images, same.top1_agreement, same.kl_divergence), (2, 1.0, 0.0));
        assert!(
            same.top1_agreement_expected > 0.999_999 && same.snr_db == 200.0,
            "{same:?}"
        );
    }

    #[test]
    fn a_flipped_class_counts() {
        let fp32 = vec![vec![1.0, 0.9], vec![5.0, 0.0]];
        let int8 = vec![vec![0.9, 1.0], vec![5.0, 0.1]];
        let found = compare(&fp32, &int8, false);
        assert_eq!(found.top1_agreement, 0.5);
        assert!(
            found.top1_agreement_expected < 0.9 && found.kl_divergence > 0.0,
            "{found:?}"
        );
    }

    #[test]
    fn one_value_is_two_classes() {
        let found = compare(&[vec![0.4], vec![2.0]], &[vec![-0.1], vec![2.0]], false);
        assert_eq!((found.images, found.top1_agreement, found.differing()), (2, 0.5, 1));
        assert_eq!(compare(&[vec![0.6]], &[vec![0.4]], true).differing(), 1);
        assert_eq!([best_class(&[0.7], true), best_class(&[-0.7], false)], [1, 0]);
    }

    #[test]
    fn nothing_compared_is_no_agreement() {
        assert_eq!(compare(&[], &[], false), Agreement::default());
        assert_eq!(compare(&[vec![f32::NAN]], &[vec![f32::NAN]], true).snr_db, 0.0);
    }

    #[test]
    fn tails_are_those_of_the_normal_distribution() {
        for (z, tail) in [(0.0, 0.5), (1.0, 0.158_655), (3.0, 0.001_349_9), (-1.0, 0.841_345)] {
            assert!((upper_tail(z) - tail).abs() < 1e-6);
        }
    }
}
