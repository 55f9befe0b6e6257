//! Runs every form on every image.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::variants::Variant;
use crate::classify::topk;
use crate::cli::labelled::LabelledImage;
use crate::cli::output;
use crate::config::Settings;
use repserve_evaluation::{Guess, Prediction};
use repserve_graph::parallel;
use repserve_preprocess::Preprocess;

/// Images that are decoded at a time.
const CHUNK: usize = 64;
/// Images in a run.
const BATCH: usize = 8;
/// Classes that are kept of an image.
const CLASSES: usize = 5;

/// An image that was seen.
#[derive(Debug)]
pub(in crate::cli) struct Image {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) label: Option<usize>,
}

/// An image that could not be read.
#[derive(Debug, serde::Serialize)]
pub(in crate::cli) struct Unreadable {
    pub(in crate::cli) file: String,
    pub(in crate::cli) error: String,
}

/// What every form says of every image.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) images: Vec<Image>,
    pub(super) unreadable: Vec<Unreadable>,
    /// For each variant a prediction an image; an empty one where it returns no numbers.
    pub(super) predictions: Vec<Vec<Prediction>>,
    /// What each variant's runs took, without decoding.
    pub(super) took: Vec<Duration>,
}

/// Decodes each image as the first variant of its preprocessing wants it, and runs all.
pub(super) fn all(variants: &mut [Variant], images: Vec<LabelledImage>, settings: &Settings) -> anyhow::Result<Seen> {
    let bar = output::progress_bar(images.len(), "{bar:40} {pos}/{len} images, {per_sec}, {eta} left");
    let mut seen = Seen {
        images: Vec::with_capacity(images.len()),
        unreadable: Vec::new(),
        predictions: vec![Vec::new(); variants.len()],
        took: vec![Duration::ZERO; variants.len()],
    };
    let sources: Vec<usize> = (0..variants.len()).map(|i| source(variants, i)).collect();
    for chunk in images.chunks(CHUNK) {
        let mut inputs: Vec<Option<Vec<Vec<f32>>>> = vec![None; variants.len()];
        let decoded = decode(variants, &sources, chunk, settings);
        let mut kept = Vec::with_capacity(chunk.len());
        for (image, decoded) in chunk.iter().zip(decoded) {
            match decoded {
                Ok(tensors) => kept.push((image, tensors)),
                Err(error) => {
                    let file = image.listed.path.to_string_lossy().into_owned();
                    bar.suspend(|| output::complain(&format!("{file}: left out: {error}")));
                    seen.unreadable.push(Unreadable { file, error });
                }
            }
        }
        for (image, tensors) in kept {
            seen.images.push(Image {
                path: image.listed.path.clone(),
                label: image.label,
            });
            for (input, tensor) in inputs.iter_mut().zip(tensors) {
                if let Some(tensor) = tensor {
                    input.get_or_insert_default().push(tensor);
                }
            }
        }
        for (i, variant) in variants.iter_mut().enumerate() {
            let tensors = inputs[sources[i]].as_deref().unwrap_or_default();
            for batch in tensors.chunks(BATCH) {
                let start = Instant::now();
                let rows = variant.session.run(batch, variant.image)?;
                seen.took[i] += start.elapsed();
                let predictions = rows.iter().map(|row| prediction(row, variant));
                seen.predictions[i].extend(predictions);
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(seen)
}

/// The first variant that prepares images as the one at `place` does.
fn source(variants: &[Variant], place: usize) -> usize {
    let key = |v: &Variant| (v.preprocess.spec().clone(), v.image);
    let wanted = key(&variants[place]);
    variants[..place].iter().position(|v| key(v) == wanted).unwrap_or(place)
}

/// For each image a tensor for each variant that is a source of others.
fn decode(
    variants: &[Variant],
    sources: &[usize],
    images: &[LabelledImage],
    settings: &Settings,
) -> Vec<Result<Vec<Option<Vec<f32>>>, String>> {
    let slots: Vec<Mutex<Result<_, String>>> = images.iter().map(|_| Mutex::new(Ok(Vec::new()))).collect();
    parallel::for_each(images.iter().zip(&slots), |(image, slot)| {
        let file = image.listed.read(settings.limits.image_bytes_max as u64);
        let tensors = file.and_then(|file| {
            let of = |(i, variant): (usize, &Variant)| match sources[i] == i {
                true => tensor(&variant.preprocess, &file, settings).map(Some),
                false => Ok(None),
            };
            variants.iter().enumerate().map(of).collect()
        });
        *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = tensors;
    });
    let inner = |slot: Mutex<_>| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    slots.into_iter().map(inner).collect()
}

fn tensor(preprocess: &Preprocess, file: &[u8], settings: &Settings) -> Result<Vec<f32>, String> {
    let decoded = preprocess.apply(file, &settings.limits.image(), settings.decode.jpeg);
    decoded.map(|decoded| decoded.tensor).map_err(|e| e.to_string())
}

fn prediction(row: &[f32], variant: &Variant) -> Prediction {
    let classes = topk::classes(row, variant.scores, CLASSES).unwrap_or_default();
    let guess = |class: &topk::Class| Guess {
        class: class.index,
        probability: class.probability,
    };
    Prediction {
        guesses: classes.iter().map(guess).collect(),
    }
}
