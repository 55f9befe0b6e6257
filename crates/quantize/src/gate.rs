//! How far the outputs of an int8 graph are from those of its fp32 graph.

use repserve_settings::settings;
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

settings! {
    /// An int8 graph is compared with the fp32 graph on images that were held out from calibration, before it is served.
    #[derive(Copy)]
    pub struct GateSettings {
        /// Smallest share of these images whose best class agrees.
        #[allowed(0.0..=1.0)]
        top1_agreement_min: f64 = 0.98,
        /// Largest mean Kullback-Leibler divergence of the int8 probabilities from the fp32 ones, in nats.
        #[allowed(0.0..)]
        kl_divergence_max: f64 = 0.1,
        /// What happens below that. refuse: the model is not served. fp32: the fp32 graph is served, with a warning.
        otherwise: Otherwise = Otherwise::Refuse,
    }
}

/// What a server does with an int8 graph that differs too much from fp32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It does not serve.
    #[default]
    Refuse,
    /// It serves the fp32 graph.
    Fp32,
}

impl Agreement {
    /// Whether the counted share is `min` or more. As many images may differ as the share leaves of them, rounded up: of 25 images a
    /// share of 0.98 means half a one.
    pub(super) fn counts(&self, min: f64) -> bool {
        let images = self.images as f64;
        let differing = (images * (1.0 - self.top1_agreement)).round();
        self.images > 0 && differing <= (images * (1.0 - min) - 1e-9).ceil().max(0.0)
    }
}

impl GateSettings {
    /// Whether an agreement suffices.
    pub fn admits(&self, agreement: &Agreement) -> bool {
        agreement.counts(self.top1_agreement_min) && agreement.kl_divergence <= self.kl_divergence_max
    }
}

/// Compares rows of logits (or of probabilities) of the same images.
pub fn compare(fp32: &[Vec<f32>], int8: &[Vec<f32>], probabilities: bool) -> Agreement {
    let pairs: Vec<_> = fp32
        .iter()
        .zip(int8)
        .filter(|(a, b)| a.len() == b.len() && !a.is_empty())
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
    fn the_gate_counts_whole_images() {
        let gate = GateSettings::default();
        let of = |images, differing| Agreement {
            images,
            top1_agreement: 1.0 - f64::from(differing) / images as f64,
            ..Agreement::default()
        };
        assert!(gate.admits(&of(25, 1)) && !gate.admits(&of(25, 2)));
        assert!(gate.admits(&of(100, 2)) && !gate.admits(&of(100, 3)));
        assert!(!gate.admits(&Agreement::default()), "nothing was compared");
        let far = Agreement {
            kl_divergence: 0.2,
            ..of(100, 0)
        };
        assert!(!gate.admits(&far));
        let strict = GateSettings {
            top1_agreement_min: 1.0,
            ..gate
        };
        assert!(strict.admits(&of(25, 0)) && !strict.admits(&of(25, 1)));
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
