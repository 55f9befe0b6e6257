//! How two classifiers differ on the same images.

use serde::{Deserialize, Serialize};

use crate::bootstrap::bootstrap_interval;
use crate::interval::Interval;
use crate::paired::Paired;
use crate::prediction::{Guess, Prediction};
use crate::share::Share;

/// Two classifiers on the same images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Images whose best class is the same.
    pub agreement: Share,
    /// How their accuracies differ; `None` where no image has a label.
    pub accuracy: Option<Difference>,
    /// The images whose best class changed, in order.
    pub changed: Vec<Changed>,
}

/// By how much the second classifier is right more often than the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference of the top-1 accuracies, -1 to 1.
    pub difference: f64,
    /// Its interval; see [`Paired::interval`].
    pub interval: Interval,
    /// Its bootstrap interval; see [`bootstrap_interval`].
    pub bootstrap_interval: Interval,
    /// The probability of so uneven a split by chance; see [`Paired::mcnemar_p`].
    pub mcnemar_p: f64,
    /// What was counted.
    pub counts: Paired,
}

/// An image whose best class changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Which image, by its place.
    pub image: usize,
    /// Its label, where it has one.
    pub label: Option<usize>,
    /// What the first says.
    pub first: Guess,
    /// What the second says.
    pub second: Guess,
}

impl Comparison {
    /// Compares predictions of the same images in the same order; images without a prediction of both are left out.
    pub fn of(first: &[Prediction], second: &[Prediction], labels: &[Option<usize>], confidence: f64) -> Self {
        let (mut images, mut changed) = (0, Vec::new());
        let (mut counts, mut gains) = (Paired::default(), Vec::new());
        for (image, (a, b)) in first.iter().zip(second).enumerate() {
            let (Some(a), Some(b)) = (a.best(), b.best()) else {
                continue;
            };
            let label = labels.get(image).copied().flatten();
            images += 1;
            if a.class != b.class {
                changed.push(Changed {
                    image,
                    label,
                    first: a,
                    second: b,
                });
            }
            if let Some(label) = label {
                let right = [a.class == label, b.class == label];
                counts.add(right[0], right[1]);
                gains.push(i8::from(right[1]) - i8::from(right[0]));
            }
        }
        let accuracy = bootstrap_interval(&gains, confidence).map(|bootstrap_interval| Difference {
            difference: counts.difference(),
            interval: counts.interval(confidence),
            bootstrap_interval,
            mcnemar_p: counts.mcnemar_p(),
            counts,
        });
        Self {
            agreement: Share::new(images - changed.len(), images, confidence),
            accuracy,
            changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(class: usize) -> Prediction {
        let guesses = vec![Guess {
            class,
            probability: 0.9,
        }];
        Prediction { guesses }
    }

    #[test]
    fn what_changed_is_listed_and_counted() {
        let first: Vec<_> = [0, 1, 2, 3].map(says).to_vec();
        let mut second = first.clone();
        second[1] = says(0);
        second[3] = Prediction::default();
        let found = Comparison::of(&first, &second, &[Some(0), Some(1), None], 0.95);
        assert_eq!((found.agreement.count, found.agreement.of), (2, 3));
        assert_eq!((found.changed[0].image, found.changed[0].label), (1, Some(1)));
        let accuracy = found.accuracy.unwrap();
        assert_eq!((accuracy.difference, accuracy.counts.only_first), (-0.5, 1));
        assert_eq!(Comparison::of(&first, &first, &[], 0.95).accuracy, None);
    }
}
