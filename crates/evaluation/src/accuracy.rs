//! How often one classifier is right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::prediction::Prediction;
use crate::reliability::Reliability;
use crate::share::Share;

/// The classes that count for top-5.
const TOP: usize = 5;

/// How often a classifier is right on labelled images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The best class is the label.
    pub top1: Share,
    /// The label is among the five best classes.
    pub top5: Share,
    /// Mean of the classes' accuracies, over those that have images: each class counts the same.
    pub balanced: f64,
    /// Whether probabilities mean what they say.
    pub reliability: Reliability,
    /// Every class that has images or was predicted, by index.
    pub classes: Vec<ClassAccuracy>,
    /// What was taken for what, the most frequent first, then by index; right predictions are not listed.
    pub confusions: Vec<Confusion>,
}

/// One class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// Its index.
    pub class: usize,
    /// Images that have it as their label.
    pub images: usize,
    /// Images of these for which it is predicted.
    pub right: usize,
    /// Images for which it is predicted.
    pub predicted: usize,
}

/// Images of one class that were taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Their label.
    pub label: usize,
    /// What was predicted.
    pub predicted: usize,
    /// How many.
    pub images: usize,
}

impl Accuracy {
    /// Of the images that have a label and a prediction.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = (&'a Prediction, usize)>, confidence: f64) -> Self {
        let (mut images, mut right, mut among) = (0, 0, 0);
        let mut classes: BTreeMap<usize, ClassAccuracy> = BTreeMap::new();
        let mut confusions: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut sure = Vec::new();
        for (prediction, label) in outcomes {
            let Some(best) = prediction.best() else { continue };
            let is_right = best.class == label;
            images += 1;
            right += usize::from(is_right);
            among += usize::from(prediction.is_among(label, TOP));
            sure.push((best.probability, is_right));
            let of_label = classes.entry(label).or_default();
            of_label.images += 1;
            of_label.right += usize::from(is_right);
            classes.entry(best.class).or_default().predicted += 1;
            if !is_right {
                *confusions.entry((label, best.class)).or_default() += 1;
            }
        }
        let with_images = classes.values().filter(|class| class.images > 0);
        let shares = with_images.map(|class| class.right as f64 / class.images as f64);
        let (count, sum) = shares.fold((0usize, 0.0), |(count, sum), share| (count + 1, sum + share));
        let mut confusions: Vec<Confusion> = confusions
            .into_iter()
            .map(|((label, predicted), images)| Confusion {
                label,
                predicted,
                images,
            })
            .collect();
        confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.images));
        Self {
            top1: Share::new(right, images, confidence),
            top5: Share::new(among, images, confidence),
            balanced: sum / count.max(1) as f64,
            reliability: Reliability::of(sure),
            classes: classes
                .into_iter()
                .map(|(class, found)| ClassAccuracy { class, ..found })
                .collect(),
            confusions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::Guess;

    fn ranked(classes: &[usize]) -> Prediction {
        let guess = |(i, class): (usize, &usize)| Guess {
            class: *class,
            probability: 0.5 / (i + 1) as f32,
        };
        Prediction {
            guesses: classes.iter().enumerate().map(guess).collect(),
        }
    }

    #[test]
    fn what_is_right_is_counted_by_class_and_what_is_not_by_pair() {
        let seen = [
            (ranked(&[0, 1]), 0),
            (ranked(&[1, 0]), 0),
            (ranked(&[1, 2, 3, 4, 5, 0]), 0),
            (ranked(&[2, 0]), 2),
            (Prediction::default(), 2),
        ];
        let found = Accuracy::of(seen.iter().map(|(p, label)| (p, *label)), 0.95);
        assert_eq!((found.top1.count, found.top1.of, found.top5.count), (2, 4, 3));
        assert!((found.balanced - 2.0 / 3.0).abs() < 1e-9);
        let class = |class, images, right, predicted| ClassAccuracy {
            class,
            images,
            right,
            predicted,
        };
        assert_eq!(found.classes, [class(0, 3, 1, 1), class(1, 0, 0, 2), class(2, 1, 1, 1)]);
        let confused = Confusion {
            label: 0,
            predicted: 1,
            images: 2,
        };
        assert_eq!(found.confusions, [confused]);
    }

    #[test]
    fn nothing_seen_is_no_accuracy() {
        let found = Accuracy::of([], 0.95);
        assert_eq!((found.top1.of, found.top1.share, found.balanced), (0, 0.0, 0.0));
    }
}
