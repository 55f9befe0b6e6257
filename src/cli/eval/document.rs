//! What an evaluation found: the value that `--json` prints, whose layout `docs/evaluation.md` describes.

use std::time::Duration;

use serde::Serialize;

use super::predict::{Image, Seen, Unreadable};
use super::variants::Variant;
use repserve_evaluation::{Accuracy, Comparison, Guess, Prediction};
use repserve_quantize::Precision;

/// The version of the layout: keys may be added in one version, never change or go.
const SCHEMA: u32 = 1;

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Document {
    pub(in crate::cli) schema: u32,
    pub(in crate::cli) written_by: String,
    /// Confidence of all intervals.
    pub(in crate::cli) confidence: f64,
    /// A label a class.
    pub(in crate::cli) labels: Vec<String>,
    /// Images that were evaluated.
    pub(in crate::cli) images: usize,
    /// Images of these that have a label.
    pub(in crate::cli) labelled: usize,
    /// Images that could not be read.
    pub(in crate::cli) unreadable: Vec<Unreadable>,
    pub(in crate::cli) variants: Vec<VariantFound>,
    /// The first variant with each other one.
    pub(in crate::cli) comparisons: Vec<Compared>,
    #[serde(skip)]
    pub(in crate::cli) seen: Vec<Image>,
    #[serde(skip)]
    pub(in crate::cli) predictions: Vec<Vec<Prediction>>,
}

/// One variant.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct VariantFound {
    pub(in crate::cli) name: String,
    pub(in crate::cli) precision: Precision,
    /// Images a second in runs of eight on all cores, without decoding; the train-time graph runs image by image.
    pub(in crate::cli) images_per_s: f64,
    /// Images for which it returns no numbers.
    pub(in crate::cli) failed: usize,
    /// `None` where no image has a label.
    pub(in crate::cli) accuracy: Option<Accuracy>,
}

/// Two variants.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Compared {
    pub(in crate::cli) first: String,
    pub(in crate::cli) second: String,
    #[serde(flatten)]
    pub(in crate::cli) comparison: Comparison,
    /// The files of `changed`, in the same order.
    pub(in crate::cli) changed_files: Vec<String>,
}

impl Document {
    /// Counts what was seen.
    pub(super) fn new(variants: &[Variant], labels: Vec<String>, seen: Seen, confidence: f64) -> Self {
        let classes: Vec<Option<usize>> = seen.images.iter().map(|image| image.label).collect();
        let labelled = classes.iter().flatten().count();
        let found = |(i, variant): (usize, &Variant)| {
            let predictions = &seen.predictions[i];
            let outcomes = predictions.iter().zip(&classes);
            let outcomes = outcomes.filter_map(|(prediction, label)| Some((prediction, (*label)?)));
            VariantFound {
                name: variant.name.clone(),
                precision: variant.precision,
                images_per_s: rate(predictions.len(), seen.took[i]),
                failed: predictions.iter().filter(|p| p.best().is_none()).count(),
                accuracy: (labelled > 0).then(|| Accuracy::of(outcomes, confidence)),
            }
        };
        let compared = |second: usize| {
            let comparison = Comparison::of(&seen.predictions[0], &seen.predictions[second], &classes, confidence);
            let file = |image: usize| seen.images[image].path.to_string_lossy().into_owned();
            Compared {
                first: variants[0].name.clone(),
                second: variants[second].name.clone(),
                changed_files: comparison.changed.iter().map(|c| file(c.image)).collect(),
                comparison,
            }
        };
        Self {
            schema: SCHEMA,
            written_by: format!("repserve {}", env!("CARGO_PKG_VERSION")),
            confidence,
            images: seen.images.len(),
            labelled,
            variants: variants.iter().enumerate().map(found).collect(),
            comparisons: (1..variants.len()).map(compared).collect(),
            labels,
            unreadable: seen.unreadable,
            seen: seen.images,
            predictions: seen.predictions,
        }
    }

    /// A class by its label.
    pub(in crate::cli) fn label(&self, class: usize) -> &str {
        self.labels.get(class).map_or("?", String::as_str)
    }

    /// A guess as people read it.
    pub(in crate::cli) fn guess(&self, guess: &Guess) -> String {
        format!(
            "{} {:.1} %",
            self.label(guess.class),
            100.0 * f64::from(guess.probability)
        )
    }
}

fn rate(images: usize, took: Duration) -> f64 {
    images as f64 / took.as_secs_f64().max(1e-9)
}
