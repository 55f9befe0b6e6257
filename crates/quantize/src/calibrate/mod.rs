//! From images to a [`Calibration`]: the order of the steps. [`calibrator`] holds what they share, [`measure`] runs the fp32 graph,
//! [`round`] decides the weights, [`search`] runs int8 graphs.

mod calibrator;
mod measure;
mod round;
mod search;

use std::collections::{BTreeMap, HashMap};

use repserve_graph::{Model, ValueId};

use calibrator::Calibrator;
use search::RANGE_POWERS;

use crate::calibration::{Calibration, Images, LayerRecord, Precision};
use crate::equalize;
use crate::error::Error;
use crate::gate::Agreement;
use crate::job::{Job, Load, Progress};
use crate::layers::{Layer, layers};
use crate::observe::{self, Bounds, Observed};
use crate::rewrite::equalize_all;

/// How far channels are equalized; the least divergence of the outputs decides.
const EQUALIZATION_POWERS: [f64; 2] = [0.5, 1.0];
/// Memory for the moments of layers that are rounded at a time.
const MOMENT_BYTES_MAX: usize = 512 << 20;
/// The fewest images of each kind.
const IMAGES_MIN: usize = 8;

/// Calibrates a deploy graph.
///
/// # Errors
/// A graph without a layer to quantize, too few images, or what `load` and its runners report.
pub fn calibrate(job: &Job<'_>, load: &Load<'_>, progress: &mut Progress<'_>) -> Result<Calibration, Error> {
    let model = job.deploy.clone();
    let layers = layers(&model);
    if layers.is_empty() {
        return Err(Error::NothingToDo);
    }
    let found = job.images.len().min(job.held_out.len());
    if found < IMAGES_MIN {
        let found = job.images.len() + job.held_out.len();
        return Err(Error::TooFewImages {
            found,
            wanted: 4 * IMAGES_MIN,
        });
    }
    let mut calibrator = Calibrator {
        job,
        load,
        model,
        layers,
        progress,
    };
    let bounds = calibrator.extremes()?;
    let mut best: Option<(f64, Trial)> = None;
    for power in EQUALIZATION_POWERS {
        let calibration = calibrator.equalized(&bounds, power);
        let exponents = |c: &Calibration| c.layers.iter().map(|l| l.equalization.clone()).collect::<Vec<_>>();
        if best
            .as_ref()
            .is_some_and(|(_, trial)| exponents(&trial.calibration) == exponents(&calibration))
        {
            continue;
        }
        let (divergence, trial) = calibrator.trial(calibration, &bounds)?;
        if best.as_ref().is_none_or(|(least, _)| divergence < *least) {
            best = Some((divergence, trial));
        }
    }
    let Some((
        _,
        Trial {
            base,
            observed,
            mut calibration,
        },
    )) = best
    else {
        return Err(Error::NothingToDo);
    };
    calibrator.reach_goal(&observed, &mut calibration)?;
    calibrator.layer_noise(&base, &mut calibration)?;
    Ok(calibration)
}

/// A calibration but for the layers in fp32, and what it was made from.
struct Trial {
    /// The graph after equalization.
    base: Model,
    observed: Observed,
    calibration: Calibration,
}

impl Calibrator<'_, '_> {
    /// Ranges, roundings and biases for channels that are equalized so; and how far the int8 outputs are then from fp32's, in nats.
    fn trial(
        &mut self,
        mut calibration: Calibration,
        bounds: &HashMap<ValueId, Bounds>,
    ) -> Result<(f64, Trial), Error> {
        let mut base = self.model.clone();
        equalize_all(&mut base.graph, &self.layers, &calibration)?;
        let observed = self.observe(&base, &calibration, bounds)?;
        for pass in observe::passes(&self.layers, MOMENT_BYTES_MAX) {
            self.round(&base, pass, &mut calibration)?;
        }
        let divergence = self.choose_ranges(&observed, &mut calibration)?;
        let trial = Trial {
            base,
            observed,
            calibration,
        };
        Ok((divergence, trial))
    }

    /// A calibration that knows only the factors of the cross-layer equalization.
    fn equalized(&self, bounds: &HashMap<ValueId, Bounds>, power: f64) -> Calibration {
        let most = |layer: &Layer| {
            let bounds = bounds.get(&layer.output).into_iter().flatten();
            (layer.name.clone(), bounds.map(|[low, high]| high.max(-low)).collect())
        };
        let most: BTreeMap<String, Vec<f32>> = self.layers.iter().map(most).collect();
        let mut exponents = equalize::exponents(&self.model.graph, &self.layers, &most, power);
        let record = |layer: &Layer| LayerRecord {
            layer: layer.name.clone(),
            precision: Precision::Int8,
            snr_db: 0.0,
            gain_if_fp32_db: None,
            equalization: exponents.remove(&layer.name).unwrap_or_default(),
            bias_correction: Vec::new(),
            rounding: String::new(),
        };
        Calibration {
            format: Calibration::format(),
            written_by: format!("repserve {}", env!("CARGO_PKG_VERSION")),
            method: "cross-layer equalization by powers of two; error-minimising ranges; weights per channel, no neighbours of one \
                     sign above 128, rounded by the inputs' covariance; bias correction"
                .to_owned(),
            model_sha256: self.job.model_sha256.clone(),
            images: Images {
                calibration: self.job.images.len(),
                held_out: self.job.held_out.len(),
                sha256: self.job.images_sha256.clone(),
            },
            equalization_power: power,
            range_power: RANGE_POWERS[0],
            held_out: Agreement::default(),
            ranges: Vec::new(),
            layers: self.layers.iter().map(record).collect(),
            gate: self.job.gate.clone(),
        }
    }
}
