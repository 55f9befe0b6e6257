//! Scales of int8 weights: one an output channel, symmetric, and small enough that no kernel saturates.
//!
//! x86 without VNNI multiplies unsigned activations with signed weights by `vpmaddubsw`, which adds two neighbouring
//! products in a saturating 16-bit number: 255·a + 255·b must stay within ±32,767, so |a + b| ≤ 128. Which two weights
//! become neighbours is the kernel's affair. So the scale is chosen such that *any* two weights of a channel obey:
//! the sum of the two largest of one sign is at most 128. That holds on every kernel, and the same graph gives the same
//! answers on every processor. In a re-parameterized channel the identity branch's weight stands far above all
//! others, so the bound costs little there, where 7-bit weights (|a| ≤ 64) would lose a whole bit.

/// Largest code of an int8 weight; −128 is not used.
pub(super) const CODE_MAX: f64 = 127.0;
/// Largest sum of two codes of one sign.
const PAIR_MAX: f64 = 128.0;

/// A scale for each row of a (rows, columns) matrix. A row of zeros gets 1.
///
/// Weights are rounded to the code below or above, so the two largest codes may exceed weight / scale by 1 each; the
/// bound leaves room for that.
pub(super) fn scales(weights: &[f64], columns: usize) -> Vec<f32> {
    weights.chunks(columns.max(1)).map(row_scale).collect()
}

fn row_scale(row: &[f64]) -> f32 {
    let mut most = 0.0f64;
    let mut pair = 0.0f64;
    for sign in [1.0, -1.0] {
        let [mut first, mut second] = [0.0f64; 2];
        for value in row.iter().map(|w| w * sign).filter(|w| w.is_finite()) {
            if value > first {
                (first, second) = (value, first);
            } else if value > second {
                second = value;
            }
        }
        most = most.max(first);
        pair = pair.max(first + second);
    }
    let scale = (most / CODE_MAX).max(pair / (PAIR_MAX - 2.0)) as f32;
    if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest sum of two codes of one sign when every weight is rounded away from zero.
    fn worst_pair(row: &[f64]) -> f64 {
        let scale = f64::from(row_scale(row));
        let code = |w: &f64| (w.abs() / scale).ceil().min(CODE_MAX).copysign(*w);
        let worst = |sign: f64| {
            let mut codes: Vec<f64> = row.iter().map(code).map(|c| c * sign).filter(|c| *c > 0.0).collect();
            codes.sort_by(f64::total_cmp);
            codes.iter().rev().take(2).sum::<f64>()
        };
        worst(1.0).max(worst(-1.0))
    }

    #[test]
    fn an_identity_tap_keeps_nearly_all_codes() {
        let mut row = vec![0.05; 100];
        row[40] = 1.0;
        let codes = 1.0 / f64::from(row_scale(&row));
        assert!(codes > 119.0, "{codes}");
        assert_eq!(row_scale(&[0.0; 9]), 1.0);
    }

    proptest! {
        #[test]
        fn no_two_weights_can_saturate(row in proptest::collection::vec(-3.0f64..3.0, 1..60)) {
            prop_assert!(worst_pair(&row) <= PAIR_MAX, "{}", worst_pair(&row));
        }
    }
}
