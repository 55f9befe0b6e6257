//! Which way each weight is rounded, so that a layer's output changes least.
//!
//! Rounding every weight to the nearest quantized value is the best for each weight and not for their sum: neighbouring inputs go
//! up and down together, so errors of the same sign add up. With H the covariance of a layer's inputs, an output
//! channel's squared error is δᵀ·H·δ for the rounding errors δ. The quantized values are fixed one after another, each making up
//! for the errors of those before it: with H = L·Lᵀ, from the last column to the first,
//!
//!   target_j = w_j + Σ_{k>j} L_kj·δ_k / L_jj,   δ_j = w_j − q_j     (all in steps of the channel's scale)
//!
//! which is Babai's nearest plane, or the update of OBQ/GPTQ (Frantar et al., arXiv 2210.17323) without an inverse.
//! Columns with much variance go first, so that the others can make up for them. A quantized value is the one below or above the
//! weight, as in AdaRound (arXiv 2004.10568): that costs nothing measurable and makes the decision one bit a weight.

use crate::cholesky;
use crate::moments::Moments;
use crate::scale::QUANTIZED_MAX;

/// Share of the mean variance that is added to every variance, against a matrix that is known from few samples.
const DAMPING: f64 = 0.005;

/// For each weight of a (rows, columns) matrix, in steps of its row's scale, whether it is rounded up. Rows belong to groups in order, as many to each.
pub(super) fn round(steps: &[f64], columns: usize, groups: usize, moments: &Moments) -> Vec<bool> {
    let mut up = nearest(steps);
    let rows_per_group = steps.len() / columns.max(1) / groups.max(1);
    for block in &moments.blocks {
        let Some(plan) = RoundingPlan::new(block.covariance(), block.len()) else {
            continue;
        };
        for row in block.group * rows_per_group..(block.group + 1) * rows_per_group {
            let at = row * columns + block.start;
            let range = at..at + block.len();
            plan.round(&steps[range.clone()], &mut up[range]);
        }
    }
    up
}

/// Whether the nearest quantized value of each weight is the one above it.
pub(super) fn nearest(steps: &[f64]) -> Vec<bool> {
    steps.iter().map(|z| z - z.floor() >= 0.5).collect()
}

/// The weights of a (rows, columns) matrix in steps of their rows' scales.
pub(super) fn steps(weights: &[f64], scales: &[f32], columns: usize) -> Vec<f64> {
    let rows = weights.chunks(columns.max(1)).zip(scales);
    rows.flat_map(|(row, scale)| row.iter().map(|w| w / f64::from(*scale)))
        .collect()
}

/// The quantized value of a weight that is rounded up or down.
pub(super) fn quantized(step: f64, up: bool) -> i8 {
    let value = if up { step.ceil() } else { step.floor() };
    value.clamp(-QUANTIZED_MAX, QUANTIZED_MAX) as i8
}

/// How errors of one column are made up for by others: the order of the columns and their shares.
struct RoundingPlan {
    /// Column that is visited at each place; the last place is visited first.
    order: Vec<usize>,
    /// At row j, from j + 1 on: L_kj / L_jj.
    shares: Vec<f32>,
}

impl RoundingPlan {
    /// `None` where the inputs never vary: then the nearest value is as good as any.
    fn new(covariance: Vec<f64>, n: usize) -> Option<Self> {
        let mean = (0..n).map(|i| covariance[i * n + i]).sum::<f64>() / n.max(1) as f64;
        if !mean.is_finite() || mean <= 0.0 {
            return None;
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| covariance[a * n + a].total_cmp(&covariance[b * n + b]));
        let mut lower = vec![0.0; n * n];
        for (i, from) in order.iter().enumerate() {
            for (j, other) in order.iter().enumerate() {
                lower[i * n + j] = covariance[from * n + other];
            }
            lower[i * n + i] += DAMPING * mean;
        }
        drop(covariance);
        if !cholesky::factor(&mut lower, n) {
            return None;
        }
        let mut shares = vec![0.0f32; n * n];
        for j in 0..n {
            let pivot = lower[j * n + j];
            for k in j + 1..n {
                shares[j * n + k] = (lower[k * n + j] / pivot) as f32;
            }
        }
        Some(Self { order, shares })
    }

    fn round(&self, steps: &[f64], up: &mut [bool]) {
        let n = self.order.len();
        let mut errors = vec![0.0f32; n];
        for j in (0..n).rev() {
            let step = steps[self.order[j]];
            let carried = dot(&self.shares[j * n + j + 1..(j + 1) * n], &errors[j + 1..]);
            let target = step + f64::from(carried);
            let rounds_up = target - step.floor() >= 0.5;
            up[self.order[j]] = rounds_up;
            errors[j] = (step - f64::from(quantized(step, rounds_up))) as f32;
        }
    }
}

/// A dot product in eight lanes, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(covariance: &[f64], steps: &[f64], up: &[bool]) -> f64 {
        let n = steps.len();
        let off: Vec<f64> = steps
            .iter()
            .zip(up)
            .map(|(s, u)| s - f64::from(quantized(*s, *u)))
            .collect();
        (0..n)
            .flat_map(|i| (0..n).map(move |j| (i, j)))
            .map(|(i, j)| off[i] * covariance[i * n + j] * off[j])
            .sum()
    }

    #[test]
    fn inputs_that_move_together_get_errors_of_both_signs() {
        let covariance = vec![1.0, 0.99, 0.99, 1.0];
        let plan = RoundingPlan::new(covariance, 2).unwrap();
        let mut up = [false; 2];
        plan.round(&[0.4, 0.4], &mut up);
        assert_ne!(up[0], up[1]);
    }

    #[test]
    fn inputs_that_never_vary_have_no_plan() {
        assert!(RoundingPlan::new(vec![0.0; 4], 2).is_none());
        assert!(RoundingPlan::new(vec![f64::NAN; 4], 2).is_none());
    }

    #[test]
    fn correlated_inputs_gain_over_the_nearest_value() {
        let n = 36usize;
        let covariance: Vec<f64> = (0usize..n * n)
            .map(|i| 0.9f64.powi((i / n).abs_diff(i % n) as i32))
            .collect();
        let plan = RoundingPlan::new(covariance.clone(), n).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let [mut nearest_sum, mut planned_sum] = [0.0; 2];
        for _ in 0..50 {
            let steps: Vec<f64> = (0..n).map(|_| random.f64() * 20.0 - 10.0).collect();
            let nearest: Vec<bool> = steps.iter().map(|z| z - z.floor() >= 0.5).collect();
            let mut planned = nearest.clone();
            plan.round(&steps, &mut planned);
            nearest_sum += error(&covariance, &steps, &nearest);
            planned_sum += error(&covariance, &steps, &planned);
        }
        assert!(planned_sum < 0.4 * nearest_sum, "{planned_sum} {nearest_sum}");
    }

    proptest! {
        #[test]
        fn quantized_values_are_next_to_the_weight(step in -127.0f64..127.0, up in any::<bool>()) {
            prop_assert!((f64::from(quantized(step, up)) - step).abs() < 1.0);
        }
    }
}
