//! int8 graphs that are each calibrated without a part of the images, and what they return for it.

use std::borrow::Cow;

use repserve_graph::{Model, ValueId, onnx};

use super::calibrator::Calibrator;
use super::measure::{Channels, together};
use super::powers::Powers;
use crate::agreement::{Agreement, Snr, compare};
use crate::calibration::{Calibration, Precision};
use crate::error::Error;
use crate::job::Stage;
use crate::observe;
use crate::rewrite::{rewrite, rewrite_exposing};
use crate::view::{VIEWS_MAX, view};

/// Parts of the images that are left out in turn.
pub(super) const FOLDS: usize = 4;
/// Images that layers' noise is measured on, at most.
const NOISE_IMAGES_MAX: usize = 128;

/// What an int8 graph is shown of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The image's place.
    pub(super) image: usize,
    /// Which of its views; 0 for the image itself.
    pub(super) view: usize,
}

/// The images themselves, by their places.
pub(super) fn themselves(images: &[usize]) -> Vec<Seen> {
    images.iter().map(|image| Seen { image: *image, view: 0 }).collect()
}

/// A calibration that was made without some images.
pub(super) struct Fold {
    /// The graph after equalization.
    pub(super) base: Model,
    pub(super) calibration: Calibration,
    /// The images that were left out, by their places.
    left_out: Vec<usize>,
    /// The largest value that each layer returned.
    pub(super) highest: Vec<f32>,
    /// As [`Calibrator::active`].
    pub(super) active: Vec<Vec<f64>>,
}

impl Calibrator<'_, '_> {
    /// A calibration for each part of the images that is left out: ranges, roundings, biases and factors of the others alone. Only the powers, of
    /// which there are few, are those that all images chose.
    pub(super) fn folds(&mut self, channels: &[Channels], powers: Powers) -> Result<Vec<Fold>, Error> {
        let count = self.job.images.len();
        let mut folds = Vec::with_capacity(FOLDS);
        for number in 0..FOLDS {
            let (left_out, images): (Vec<usize>, Vec<usize>) = (0..count).partition(|i| i % FOLDS == number);
            let others = channels.iter().enumerate().filter(|(i, _)| *i != number);
            let channels = together(others.map(|(_, part)| part));
            let (base, calibration, observed) = self.fit(&images, &channels, powers)?;
            let highest = self.highest(&observed);
            folds.push(Fold {
                base,
                calibration,
                left_out,
                highest,
                active: self.active(&channels),
            });
            (self.progress)(Stage::CrossValidation, number + 1, FOLDS);
        }
        Ok(folds)
    }

    /// What the folds' int8 graphs, with some layers in fp32, return for each of `seen`, in the fold that was calibrated without its image.
    pub(super) fn left_out_outputs(
        &self,
        folds: &[Fold],
        fp32: &[usize],
        seen: &[Seen],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut rows = vec![Vec::new(); seen.len()];
        for fold in folds {
            let mut calibration = fold.calibration.clone();
            calibration.leave_in_fp32(fp32);
            let int8 = rewrite(self.model.clone(), &calibration)?;
            let mut runner = observe::load_with_outputs(&int8, &[], self.load)?;
            for (row, seen) in rows.iter_mut().zip(seen) {
                if fold.left_out.binary_search(&seen.image).is_ok() {
                    let mut outputs = observe::run(&mut runner, &self.tensor(*seen), 1)?;
                    *row = std::mem::take(&mut outputs[0].data);
                }
            }
        }
        Ok(rows)
    }

    /// How far int8 agrees with fp32 on other views of the images; `None` where none are wanted.
    pub(super) fn views(&mut self, folds: &[Fold], fp32: &[usize]) -> Result<Option<Agreement>, Error> {
        let wanted = self.job.views.min(VIEWS_MAX);
        if wanted == 0 {
            return Ok(None);
        }
        let images = 0..self.job.images.len();
        let seen: Vec<Seen> = images
            .flat_map(|image| (1..=wanted).map(move |view| Seen { image, view }))
            .collect();
        (self.progress)(Stage::Views, 0, 1);
        let mut runner = observe::load_with_outputs(&self.model, &[], self.load)?;
        let exact = seen.iter().map(|seen| {
            let mut outputs = observe::run(&mut runner, &self.tensor(*seen), 1)?;
            Ok(std::mem::take(&mut outputs[0].data))
        });
        let exact = exact.collect::<Result<Vec<_>, Error>>()?;
        let int8 = self.left_out_outputs(folds, fp32, &seen)?;
        (self.progress)(Stage::Views, 1, 1);
        Ok(Some(compare(&exact, &int8, self.job.probabilities)))
    }

    fn tensor(&self, seen: Seen) -> Cow<'_, [f32]> {
        let image = &self.job.images[seen.image];
        match seen.view {
            0 => Cow::Borrowed(image),
            number => Cow::Owned(view(image, self.job.size, number)),
        }
    }

    /// The signal-to-noise ratio, dB, of every layer that is in int8, on the images that were left out.
    pub(super) fn layer_noise(&self, folds: &[Fold], fp32: &[usize]) -> Result<Vec<Option<f64>>, Error> {
        let mut noise = vec![Snr::default(); self.layers.len()];
        let int8: Vec<usize> = (0..self.layers.len()).filter(|i| !fp32.contains(i)).collect();
        for fold in folds {
            let mut calibration = fold.calibration.clone();
            calibration.leave_in_fp32(fp32);
            self.add_noise(fold, &calibration, &int8, &mut noise)?;
        }
        let db = |(i, snr): (usize, &Snr)| int8.contains(&i).then(|| snr.db());
        Ok(noise.iter().enumerate().map(db).collect())
    }

    fn add_noise(
        &self,
        fold: &Fold,
        calibration: &Calibration,
        int8: &[usize],
        noise: &mut [Snr],
    ) -> Result<(), Error> {
        let graph = &fold.base.graph;
        let own = graph.outputs.len();
        let outputs = int8.iter().map(|i| self.layers[*i].output);
        let fresh: Vec<ValueId> = outputs.filter(|v| !graph.outputs.contains(v)).collect();
        let mut exact = observe::load_with_outputs(&fold.base, &fresh, self.load)?;
        let noisy = rewrite_exposing(self.model.clone(), calibration, true)?;
        let mut noisy = (self.load)(&onnx::write(noisy)?).map_err(Error::Run)?;
        let place = |layer: usize| {
            let among = |list: &[ValueId]| list.iter().position(|v| *v == self.layers[layer].output);
            among(&graph.outputs).unwrap_or_else(|| own + among(&fresh).unwrap_or(0))
        };
        let places: Vec<(usize, usize)> = int8.iter().map(|i| (*i, place(*i))).collect();
        let count = own + fresh.len();
        for image in fold.left_out.iter().take(NOISE_IMAGES_MAX / FOLDS) {
            let image = &self.job.images[*image];
            let (exact, noisy) = (
                observe::run(&mut exact, image, count)?,
                observe::run(&mut noisy, image, count)?,
            );
            for (layer, place) in &places {
                noise[*layer].add(&exact[*place].data, &noisy[*place].data);
            }
        }
        Ok(())
    }
}

impl Calibration {
    /// Leaves layers in fp32.
    pub(crate) fn leave_in_fp32(&mut self, layers: &[usize]) {
        for layer in layers {
            let record = &mut self.layers[*layer];
            record.precision = Precision::Fp32;
            record.bias_correction.clear();
            record.rounding.clear();
            record.channels_16_bit.clear();
        }
    }
}
