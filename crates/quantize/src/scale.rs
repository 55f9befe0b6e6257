//! Scales of int8 weights: one an output channel, symmetric, and small enough that no kernel saturates.
//!
//! x86 without VNNI multiplies unsigned activations with signed weights by `vpmaddubsw`, which adds two neighbouring
//! products in a saturating 16-bit number: 255·a + 255·b must stay within ±32,767, so |a + b| ≤ 128. Neighbours are
//! weights that follow each other when a kernel walks along its taps or along its input channels; the scale is chosen
//! such that both kinds obey. So the same graph gives the same results on every processor, and it costs less than
//! weights of 7 bits (|a| ≤ 64): two large weights are seldom neighbours.

/// Largest quantized weight; −128 is not used.
pub(super) const QUANTIZED_MAX: f64 = 127.0;
/// Largest sum of two neighbouring quantized weights of one sign.
const PAIR_MAX: f64 = 128.0;

/// A scale for each row of a (rows, columns) matrix; the columns are input channels by `taps` kernel taps, row-major. A
/// row of zeros gets 1.
///
/// Weights are rounded up or down, so two of them may exceed weight / scale by 1 each; the bound allows
/// for that.
pub(super) fn scales(weights: &[f64], columns: usize, taps: usize) -> Vec<f32> {
    weights
        .chunks(columns.max(1))
        .map(|row| row_scale(row, taps.max(1)))
        .collect()
}

fn row_scale(row: &[f64], taps: usize) -> f32 {
    let finite = row.iter().map(|w| w.abs()).filter(|w| w.is_finite());
    let most = finite.fold(0.0, f64::max);
    let pair = neighbours(row.len(), taps)
        .map(|(i, j)| (row[i], row[j]))
        .filter(|(a, b)| a * b > 0.0 && (a + b).is_finite())
        .fold(0.0, |most, (a, b)| f64::max(most, (a + b).abs()));
    let scale = (most / QUANTIZED_MAX).max(pair / (PAIR_MAX - 2.0)) as f32;
    if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// Pairs of columns that follow each other, channel by channel or tap by tap.
fn neighbours(columns: usize, taps: usize) -> impl Iterator<Item = (usize, usize)> {
    let depth = columns / taps;
    let by_tap = move |i: usize| (i % depth) * taps + i / depth;
    let last = columns.saturating_sub(1);
    let along_taps = (0..last).map(|i| (i, i + 1));
    let along_channels = (0..if depth * taps == columns { last } else { 0 }).map(move |i| (by_tap(i), by_tap(i + 1)));
    along_taps.chain(along_channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest sum of two neighbouring quantized weights of one sign when every weight is rounded away from zero.
    fn worst_pair(row: &[f64], taps: usize) -> f64 {
        let scale = f64::from(row_scale(row, taps));
        let quantized = |w: f64| (w.abs() / scale).ceil().min(QUANTIZED_MAX).copysign(w);
        let sum = |(i, j): (usize, usize)| (row[i], row[j]);
        neighbours(row.len(), taps)
            .map(sum)
            .filter(|(a, b)| a * b > 0.0)
            .fold(0.0, |most, (a, b)| f64::max(most, (quantized(a) + quantized(b)).abs()))
    }

    #[test]
    fn an_identity_tap_keeps_nearly_all_steps() {
        let mut row = vec![0.05; 99];
        row[40] = 1.0;
        let steps = 1.0 / f64::from(row_scale(&row, 9));
        assert!(steps > 119.0, "{steps}");
        assert_eq!(row_scale(&[0.0; 9], 9), 1.0);
    }

    #[test]
    fn neighbours_are_those_of_both_walks() {
        // Two channels of two taps: 0 1 2 3 along the taps, 0 2 1 3 along the channels.
        let found: Vec<_> = neighbours(4, 2).collect();
        assert_eq!(found, [(0, 1), (1, 2), (2, 3), (0, 2), (2, 1), (1, 3)]);
        assert_eq!(neighbours(1, 1).count(), 0);
        assert_eq!(neighbours(0, 9).count(), 0);
    }

    proptest! {
        #[test]
        fn no_neighbours_can_saturate(row in proptest::collection::vec(-3.0f64..3.0, 36), taps in 1usize..10) {
            prop_assert!(worst_pair(&row, taps) <= PAIR_MAX, "{}", worst_pair(&row, taps));
        }
    }
}
