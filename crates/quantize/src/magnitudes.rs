//! How large the values of each channel are, and where a channel would best be clipped if it had 256 values for itself.
//!
//! A channel whose largest value is seen at one pixel of one image is not a large channel. With n values below an end h, rounding
//! them to 255 steps of h has an error that is even within half a step, and those beyond are cut off:
//!
//!   error(h) = n·(h / 510)² / 3 + Σ_{v>h} (v − h)²
//!
//! The end with the least error is what channels are equalized by.

use std::array;

use crate::job::Values;

/// Bins of a channel.
const BINS: usize = 256;
/// Steps from zero to the end of a range.
const STEPS: f64 = 255.0;

/// How often the magnitudes of each channel fall where. Exact zeros are left out: every range holds them.
#[derive(Debug, Clone, Default)]
pub(super) struct Magnitudes {
    /// The largest magnitude of each channel.
    most: Vec<f32>,
    /// Counts of all channels, [`BINS`] each.
    bins: Vec<u32>,
}

impl Magnitudes {
    /// None counted yet, of channels with these largest magnitudes.
    pub(super) fn new(most: Vec<f32>) -> Self {
        Self {
            bins: vec![0; most.len() * BINS],
            most,
        }
    }

    /// Counts the values of one image of shape (1, channels, …).
    pub(super) fn add(&mut self, values: &Values) {
        let plane = values.data.len() / self.most.len().max(1);
        if plane == 0 {
            return;
        }
        let channels = self.most.iter().zip(self.bins.chunks_mut(BINS));
        for ((most, bins), plane) in channels.zip(values.data.chunks(plane)) {
            let per_value = BINS as f32 / most.max(f32::MIN_POSITIVE);
            for value in plane.iter().filter(|v| **v != 0.0 && v.is_finite()) {
                let bin = &mut bins[((value.abs() * per_value) as usize).min(BINS - 1)];
                *bin = bin.saturating_add(1);
            }
        }
    }

    /// Counts what others have counted of the same channels.
    pub(super) fn add_all(&mut self, others: &Self) {
        for (bin, other) in self.bins.iter_mut().zip(&others.bins) {
            *bin = bin.saturating_add(*other);
        }
    }

    /// How many values of each channel are not zero.
    pub(super) fn counts(&self) -> Vec<f64> {
        let counts = self.bins.chunks(BINS);
        counts.map(|bins| bins.iter().map(|n| f64::from(*n)).sum()).collect()
    }

    /// Where each channel would best be clipped; 0 where it has no values.
    pub(super) fn ends(&self) -> Vec<f32> {
        let cut = array::from_fn(|i| (i as f64 + 0.5).powi(2));
        let channels = self.most.iter().zip(self.bins.chunks(BINS));
        channels
            .map(|(most, bins)| most * best_end(bins, &cut) as f32 / BINS as f32)
            .collect()
    }
}

/// The number of bins from zero on that is the best range. `cut` is what a value costs that lies so many bins beyond it.
fn best_end(bins: &[u32], cut: &[f64; BINS]) -> usize {
    let Some(last) = bins.iter().rposition(|count| *count > 0) else {
        return 0;
    };
    let mut best = (f64::INFINITY, 0);
    let mut inside = 0.0;
    for end in 1..=last + 1 {
        inside += f64::from(bins[end - 1]);
        let rounded = inside * (end as f64 / (2.0 * STEPS)).powi(2) / 3.0;
        let beyond = bins[end..=last]
            .iter()
            .zip(cut)
            .map(|(count, cost)| f64::from(*count) * cost);
        let error = rounded + beyond.sum::<f64>();
        if error < best.0 {
            best = (error, end);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(most: &[f32], channels: &[Vec<f32>]) -> Magnitudes {
        let mut magnitudes = Magnitudes::new(most.to_vec());
        magnitudes.add(&Values {
            shape: vec![1, channels.len(), channels[0].len()],
            data: channels.concat(),
        });
        magnitudes
    }

    #[test]
    fn even_values_keep_their_range_and_a_rare_extreme_is_cut_off() {
        let even: Vec<f32> = (1..=200_000).map(|i| i as f32 / 200_000.0).collect();
        let mut rare: Vec<f32> = even.iter().map(|v| v * 0.1).collect();
        rare[7] = -1.0;
        let ends = of(&[1.0, 1.0, 0.0], &[even.clone(), rare, vec![0.0; 200_000]]).ends();
        assert!(ends[0] > 0.97, "{ends:?}");
        assert!((0.7..0.9).contains(&ends[1]), "{ends:?}");
        assert_eq!(ends[2], 0.0);
    }

    #[test]
    fn what_is_counted_in_parts_is_what_is_counted_at_once() {
        let [first, second] = [vec![0.5, -0.25, 0.0], vec![f32::NAN, 1.0, 0.75]];
        let mut parts = of(&[1.0], std::slice::from_ref(&first));
        parts.add_all(&of(&[1.0], std::slice::from_ref(&second)));
        assert_eq!(parts.bins, of(&[1.0], &[[first, second].concat()]).bins);
        assert_eq!(Magnitudes::default().ends(), [0.0f32; 0]);
    }
}
