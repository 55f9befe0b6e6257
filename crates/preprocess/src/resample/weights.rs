//! How much each source pixel along one axis counts for each resampled pixel.

use std::f64::consts::PI;
use std::ops::Range;

use crate::geometry::Span;

/// Bits behind the point of a weight: 32 less 8 of the pixel and 2 for overshoot and sign.
pub(super) const PRECISION_BITS: u32 = 22;

/// A filter kernel, symmetric about 0.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    /// Where it becomes zero.
    support: f64,
    kernel: fn(f64) -> f64,
}

impl Filter {
    /// A triangle.
    pub(super) const BILINEAR: Self = Self {
        support: 1.0,
        kernel: |x| (1.0 - x.abs()).max(0.0),
    };
    /// Keys' cubic with a = -0.5.
    pub(super) const BICUBIC: Self = Self {
        support: 2.0,
        kernel: cubic,
    };
    /// Lanczos' windowed sinc of three lobes.
    pub(super) const LANCZOS: Self = Self {
        support: 3.0,
        kernel: lanczos,
    };
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

/// At least [`Weights::taps_max`] of the weights that [`Weights::new`] makes of the same.
pub(super) fn taps_bound(side: u32, extent: f64, span: Span, filter: Filter) -> usize {
    let stretch = (extent / f64::from(span.resized)).max(1.0);
    let taps = (2.0 * filter.support * stretch).ceil() as usize + 2;
    taps.min(side as usize)
}

/// The weights along one axis.
pub(super) struct Weights {
    /// For each resampled pixel its first source pixel, and where its weights lie in `values`.
    taps: Vec<(usize, Range<usize>)>,
    values: Vec<i32>,
}

impl Weights {
    /// For the kept pixels of `span`, out of `side` source pixels of which the picture covers `extent`.
    pub(super) fn new(side: u32, extent: f64, span: Span, filter: Filter) -> Self {
        let scale = extent / f64::from(span.resized);
        let stretch = scale.max(1.0);
        let support = filter.support * stretch;
        let mut weights = Self {
            taps: Vec::with_capacity(span.length as usize),
            values: Vec::new(),
        };
        let mut exact = Vec::new();
        for index in span.start..span.start + span.length {
            let centre = (f64::from(index) + 0.5) * scale;
            let first = ((centre - support + 0.5).max(0.0) as u32).min(side - 1);
            let end = ((centre + support + 0.5) as u32).clamp(first + 1, side);
            exact.clear();
            exact.extend((first..end).map(|at| (filter.kernel)((f64::from(at) - centre + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            let start = weights.values.len();
            let norm = |weight: f64| if sum == 0.0 { weight } else { weight / sum };
            weights.values.extend(exact.iter().map(|&weight| fixed(norm(weight))));
            weights.taps.push((first as usize, start..weights.values.len()));
        }
        weights
    }

    /// The same for a source whose pixels come in the opposite order; the resampled pixels then do too.
    pub(super) fn mirrored(&self, side: u32) -> Self {
        let mut mirrored = Self {
            taps: Vec::with_capacity(self.taps.len()),
            values: Vec::with_capacity(self.values.len()),
        };
        for (first, values) in self.taps.iter().rev() {
            let start = mirrored.values.len();
            mirrored.values.extend(self.values[values.clone()].iter().rev());
            let first = side as usize - first - values.len();
            mirrored.taps.push((first, start..mirrored.values.len()));
        }
        mirrored
    }

    /// The source pixels that count for any resampled pixel.
    pub(super) fn used(&self) -> Range<usize> {
        let start = self.taps.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = self
            .taps
            .iter()
            .map(|(first, values)| first + values.len())
            .max()
            .unwrap_or(0);
        start..end
    }

    /// How many pixels are resampled.
    pub(super) fn len(&self) -> usize {
        self.taps.len()
    }

    /// The first source pixel of the resampled pixel `index` and the weights from there on.
    pub(super) fn get(&self, index: usize) -> Option<(usize, &[i32])> {
        let (first, values) = self.taps.get(index)?;
        Some((*first, &self.values[values.clone()]))
    }

    /// The most source pixels that count for one resampled pixel.
    pub(super) fn taps_max(&self) -> usize {
        self.taps.iter().map(|(_, values)| values.len()).max().unwrap_or(0)
    }

    /// For each resampled pixel its first source pixel and the weights from there on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.taps
            .iter()
            .map(|(first, values)| (*first, &self.values[values.clone()]))
    }
}

/// A weight in fixed point, halves away from zero.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_u32 << PRECISION_BITS);
    (scaled + 0.5_f64.copysign(scaled)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(side: u32, resized: u32, expected: &[(usize, &[f64])]) {
        let span = Span {
            resized,
            start: 0,
            length: resized,
            padding: 0,
        };
        let weights = Weights::new(side, f64::from(side), span, Filter::BILINEAR);
        let unit = f64::from(1 << PRECISION_BITS);
        assert_eq!(weights.len(), expected.len());
        for ((first, values), (expected_first, expected)) in weights.iter().zip(expected) {
            let near = values
                .iter()
                .zip(*expected)
                .all(|(value, wanted)| (f64::from(*value) / unit - wanted).abs() < 1e-6);
            assert!(
                first == *expected_first && values.len() == expected.len() && near,
                "{first} {values:?}"
            );
        }
    }

    #[test]
    fn equal_sides_are_the_identity() {
        check(2, 2, &[(0, &[1.0, 0.0]), (1, &[1.0])]);
    }

    #[test]
    fn mirrored_weights_are_those_of_a_mirrored_source() {
        let span = Span {
            resized: 5,
            start: 1,
            length: 3,
            padding: 0,
        };
        let weights = Weights::new(17, 16.5, span, Filter::LANCZOS);
        let mirrored = weights.mirrored(17);
        let mut source = [0_i64; 17];
        source
            .iter_mut()
            .enumerate()
            .for_each(|(at, value)| *value = (at * at) as i64);
        let sums = |weights: &Weights, source: &[i64]| -> Vec<i64> {
            let sum = |(first, values): (usize, &[i32])| {
                source[first..].iter().zip(values).map(|(s, w)| s * i64::from(*w)).sum()
            };
            weights.iter().map(sum).collect()
        };
        let expected = sums(&weights, &source);
        source.reverse();
        let mut got = sums(&mirrored, &source);
        got.reverse();
        assert_eq!(got, expected);
        assert!(weights.taps_max() <= taps_bound(17, 16.5, span, Filter::LANCZOS));
    }

    #[test]
    fn the_kernel_grows_when_the_picture_shrinks() {
        check(4, 1, &[(0, &[5.0 / 24.0, 7.0 / 24.0, 7.0 / 24.0, 5.0 / 24.0])]);
        check(
            6,
            2,
            &[(0, &[0.25, 0.375, 0.25, 0.125, 0.0]), (2, &[0.125, 0.25, 0.375, 0.25])],
        );
    }
}
