//! From a model's output to its best classes.

use repserve_compile::OutputKind;

/// One class of a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    /// Which output it is.
    pub index: usize,
    /// 0 to 1.
    pub probability: f32,
}

/// The `k` best classes of one output (all of them where `k` is larger), best first, equal ones by index. `None` where the output
/// holds NaN or infinity.
///
/// Logits become probabilities by softmax, exp(x − max) / Σ exp(x − max), summed in f64.
pub fn classes(output: &[f32], kind: OutputKind, k: usize) -> Option<Vec<Class>> {
    if !output.iter().all(|x| x.is_finite()) {
        return None;
    }
    let better = |a: &usize, b: &usize| output[*b].total_cmp(&output[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..output.len()).collect();
    if k < order.len() {
        order.select_nth_unstable_by(k, better);
        order.truncate(k);
    }
    order.sort_unstable_by(better);
    let max = output.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |x: f32| f64::from(x - max).exp();
    let sum: f64 = match kind {
        OutputKind::Logits => output.iter().map(|x| exp(*x)).sum(),
        OutputKind::Probabilities => 1.0,
    };
    let probability = |x: f32| match kind {
        OutputKind::Logits => (exp(x) / sum) as f32,
        OutputKind::Probabilities => x,
    };
    let class = |index: usize| Class {
        index,
        probability: probability(output[index]),
    };
    Some(order.into_iter().map(class).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(output: &[f32], kind: OutputKind, k: usize, expected: &[(usize, f32)]) {
        let got = classes(output, kind, k).unwrap();
        let got: Vec<_> = got.iter().map(|c| (c.index, c.probability)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn logits_become_probabilities() {
        check(&[0.0, 0.0], OutputKind::Logits, 5, &[(0, 0.5), (1, 0.5)]);
        check(&[1e30, -1e30, 0.0], OutputKind::Logits, 2, &[(0, 1.0), (2, 0.0)]);
        check(&[-1e38, -1e38], OutputKind::Logits, 1, &[(0, 0.5)]);
    }

    #[test]
    fn probabilities_stay() {
        check(
            &[0.25, 0.5, 0.25],
            OutputKind::Probabilities,
            3,
            &[(1, 0.5), (0, 0.25), (2, 0.25)],
        );
    }

    #[test]
    fn what_is_not_finite_is_no_result() {
        assert_eq!(classes(&[0.0, f32::NAN], OutputKind::Logits, 1), None);
        assert_eq!(classes(&[f32::INFINITY, 0.0], OutputKind::Logits, 1), None);
    }

    proptest! {
        #[test]
        fn the_best_come_first_and_all_sum_to_one(output in prop::collection::vec(-50f32..50.0, 1..64), k in 1usize..80) {
            let all = classes(&output, OutputKind::Logits, output.len()).unwrap();
            let sum: f32 = all.iter().map(|c| c.probability).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
            prop_assert!(all.windows(2).all(|w| w[0].probability >= w[1].probability));
            let best = classes(&output, OutputKind::Logits, k).unwrap();
            prop_assert_eq!(&best[..], &all[..k.min(all.len())]);
        }
    }
}
