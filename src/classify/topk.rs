//! From a model's output to its best classes.

use repserve_compile::Scores;

/// One class of a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    /// Which class it is.
    pub index: usize,
    /// The model's value for it.
    pub score: f32,
    /// 0 to 1.
    pub probability: f32,
}

/// The `k` best classes of one output (all of them where `k` is larger), best first, equal ones by index. `None` where the output
/// holds NaN or infinity; a logarithm may be that of 0.
///
/// Logits become probabilities by softmax, exp(x − max) / Σ exp(x − max), summed in f64; those of independent classes by
/// 1 / (1 + exp(−x)).
pub fn classes(output: &[f32], scores: Scores, k: usize) -> Option<Vec<Class>> {
    let possible = |x: &f32| x.is_finite() || scores == Scores::LogProbabilities && *x == f32::NEG_INFINITY;
    if !output.iter().all(possible) {
        return None;
    }
    if let (Scores::Binary { activated }, [second]) = (scores, output) {
        let first = if activated { 1.0 - second } else { 0.0 - second };
        return Some(best(&[first, *second], Scores::Independent { activated }, k));
    }
    Some(best(output, scores, k))
}

fn best(output: &[f32], scores: Scores, k: usize) -> Vec<Class> {
    let better = |a: &usize, b: &usize| output[*b].total_cmp(&output[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..output.len()).collect();
    if k < order.len() {
        order.select_nth_unstable_by(k, better);
        order.truncate(k);
    }
    order.sort_unstable_by(better);
    let max = output.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |x: f32| f64::from(x - max).exp();
    let sum: f64 = match scores {
        Scores::Logits => output.iter().map(|x| exp(*x)).sum(),
        _ => 1.0,
    };
    let probability = |x: f32| match scores {
        Scores::Logits => (exp(x) / sum) as f32,
        Scores::LogProbabilities => x.exp(),
        Scores::Independent { activated: false } | Scores::Binary { activated: false } => {
            (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
        }
        Scores::Probabilities | Scores::Independent { .. } | Scores::Binary { .. } => x,
    };
    let class = |index: usize| Class {
        index,
        score: output[index],
        probability: probability(output[index]).clamp(0.0, 1.0),
    };
    order.into_iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(output: &[f32], scores: Scores, k: usize, expected: &[(usize, f32)]) {
        let got = classes(output, scores, k).unwrap();
        let got: Vec<_> = got.iter().map(|c| (c.index, c.probability)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn logits_become_probabilities() {
        check(&[0.0, 0.0], Scores::Logits, 5, &[(0, 0.5), (1, 0.5)]);
        check(&[1e30, -1e30, 0.0], Scores::Logits, 2, &[(0, 1.0), (2, 0.0)]);
        check(&[-1e38, -1e38], Scores::Logits, 1, &[(0, 0.5)]);
    }

    #[test]
    fn probabilities_stay_and_never_leave_their_range() {
        let [p, logarithms] = [Scores::Probabilities, Scores::LogProbabilities];
        check(&[0.25, 0.5, 0.25], p, 3, &[(1, 0.5), (0, 0.25), (2, 0.25)]);
        check(&[-0.001, 1.001], p, 2, &[(1, 1.0), (0, 0.0)]);
        check(&[1e-6, f32::NEG_INFINITY], logarithms, 2, &[(0, 1.0), (1, 0.0)]);
    }

    #[test]
    fn independent_classes_have_a_sigmoid_each() {
        let independent = |activated| Scores::Independent { activated };
        check(
            &[0.0, 1e30, -1e30],
            independent(false),
            3,
            &[(1, 1.0), (0, 0.5), (2, 0.0)],
        );
        check(&[0.9, 0.8], independent(true), 2, &[(0, 0.9), (1, 0.8)]);
    }

    #[test]
    fn one_value_is_two_classes() {
        let binary = |activated| Scores::Binary { activated };
        check(&[0.0], binary(false), 5, &[(0, 0.5), (1, 0.5)]);
        check(&[-1e30], binary(false), 1, &[(0, 1.0)]);
        check(&[0.75], binary(true), 2, &[(1, 0.75), (0, 0.25)]);
        let best = classes(&[0.75], binary(true), 1).unwrap();
        assert_eq!(best[0].score, 0.75);
    }

    #[test]
    fn what_is_not_finite_is_no_result() {
        assert_eq!(classes(&[0.0, f32::NAN], Scores::Logits, 1), None);
        assert_eq!(classes(&[f32::INFINITY, 0.0], Scores::Logits, 1), None);
        assert_eq!(classes(&[f32::NEG_INFINITY, 0.0], Scores::Logits, 1), None);
        assert_eq!(classes(&[f32::NAN], Scores::LogProbabilities, 1), None);
    }

    fn any_scores() -> impl Strategy<Value = Scores> {
        let flag = any::<bool>();
        prop_oneof![
            Just(Scores::Logits),
            Just(Scores::Probabilities),
            Just(Scores::LogProbabilities),
            flag.prop_map(|activated| Scores::Independent { activated }),
            any::<bool>().prop_map(|activated| Scores::Binary { activated }),
        ]
    }

    proptest! {
        #[test]
        fn the_best_come_first_and_all_sum_to_one(output in prop::collection::vec(-50f32..50.0, 1..64), k in 1usize..80) {
            let all = classes(&output, Scores::Logits, output.len()).unwrap();
            let sum: f32 = all.iter().map(|c| c.probability).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
            prop_assert!(all.windows(2).all(|w| w[0].probability >= w[1].probability));
            let best = classes(&output, Scores::Logits, k).unwrap();
            prop_assert_eq!(&best[..], &all[..k.min(all.len())]);
        }

        #[test]
        fn no_probability_lies_outside_0_and_1(
            output in prop::collection::vec(any::<f32>(), 1..8),
            scores in any_scores(),
            k in 1usize..10,
        ) {
            for class in classes(&output, scores, k).unwrap_or_default() {
                prop_assert!((0.0..=1.0).contains(&class.probability), "{class:?}");
            }
        }
    }
}
