//! What cross-validation found: int8 against fp32 on images that the int8 graph was not calibrated on.

use repserve_evaluation::Paired;
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, best_class, compare};

/// int8 against fp32 on every calibration image, each in an int8 graph that was calibrated without it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Parts that were left out in turn.
    pub folds: usize,
    /// How far both agree.
    pub agreement: Agreement,
    /// Which of the two is right where, on the images that have labels: first fp32, second int8.
    pub labelled: Paired,
    /// How far both agree on other views of the images, mirrored and magnified, in graphs that were calibrated without the image; where
    /// that was measured. Views are not independent, so it is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Agreement>,
}

impl Evidence {
    /// Of rows of logits (or of probabilities) of the same images, and their labels where they have some.
    pub(super) fn of(
        folds: usize,
        fp32: &[Vec<f32>],
        int8: &[Vec<f32>],
        labels: &[Option<usize>],
        probabilities: bool,
    ) -> Self {
        let mut labelled = Paired::default();
        for ((exact, noisy), label) in fp32.iter().zip(int8).zip(labels) {
            if let Some(label) = label {
                let right = |row: &[f32]| best_class(row, probabilities) == *label;
                labelled.add(right(exact), right(noisy));
            }
        }
        Self {
            folds,
            agreement: compare(fp32, int8, probabilities),
            labelled,
            views: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_count_where_there_are_some() {
        let fp32 = [vec![1.0, 0.0], vec![1.0, 0.0], vec![0.0, 1.0]];
        let int8 = [vec![0.0, 1.0], vec![1.0, 0.0], vec![1.0, 0.0]];
        let found = Evidence::of(4, &fp32, &int8, &[Some(0), None, Some(0)], false);
        assert_eq!(found.agreement.differing(), 2);
        let expected = Paired {
            images: 2,
            only_first: 1,
            only_second: 1,
        };
        assert_eq!(found.labelled, expected);
    }
}
