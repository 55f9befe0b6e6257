//! From images to a [`Calibration`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Mutex;

use repserve_graph::{Model, ValueId};

use super::calibration::{Calibration, Images, LayerRecord, Precision};
use super::gate::Agreement;
use super::job::{Job, Load, Progress, Stage};
use super::layers::{Layer, layers};
use super::moments::Moments;
use super::observe::{self, Bounds, Observed};
use super::rewrite::equalize_all;
use super::search::RANGE_POWERS;
use super::{Error, bits, equalize, rounding, scale};

/// How far channels are evened out; the least divergence of the answers decides.
const EQUALIZATION_POWERS: [f64; 2] = [0.5, 1.0];
/// Memory for the moments of layers that are rounded at a time.
const MOMENT_BYTES_MAX: usize = 512 << 20;
/// The fewest images of each kind.
const IMAGES_MIN: usize = 8;

/// Calibrates a deploy graph.
///
/// # Errors
/// A graph without a layer to quantize, too few images, or what `load` and its probes report.
pub fn calibrate(job: &Job<'_>, load: &Load<'_>, progress: &mut Progress<'_>) -> Result<Calibration, Error> {
    let model = job.deploy.clone();
    let layers = layers(&model.graph);
    if layers.is_empty() {
        return Err(Error::NothingToDo);
    }
    let found = job.images.len().min(job.held_back.len());
    if found < IMAGES_MIN {
        let found = job.images.len() + job.held_back.len();
        return Err(Error::TooFewImages {
            found,
            wanted: 4 * IMAGES_MIN,
        });
    }
    let mut bench = Bench {
        job,
        load,
        model,
        layers,
        progress,
    };
    let bounds = bench.extremes()?;
    let mut best: Option<(f64, Trial)> = None;
    for power in EQUALIZATION_POWERS {
        let calibration = bench.equalized(&bounds, power);
        let exponents = |c: &Calibration| c.layers.iter().map(|l| l.equalization.clone()).collect::<Vec<_>>();
        if best
            .as_ref()
            .is_some_and(|(_, trial)| exponents(&trial.calibration) == exponents(&calibration))
        {
            continue;
        }
        let (divergence, trial) = bench.trial(calibration, &bounds)?;
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
    bench.reach_goal(&observed, &mut calibration)?;
    bench.layer_noise(&base, &mut calibration)?;
    Ok(calibration)
}

/// A calibration but for the layers in fp32, and what it was made from.
struct Trial {
    /// The graph with its channels evened out.
    base: Model,
    observed: Observed,
    calibration: Calibration,
}

/// What all steps need.
pub(super) struct Bench<'a, 'l> {
    pub(super) job: &'a Job<'a>,
    pub(super) load: &'a Load<'l>,
    pub(super) model: Model,
    pub(super) layers: Vec<Layer>,
    pub(super) progress: &'a mut Progress<'a>,
}

impl Bench<'_, '_> {
    /// Smallest and largest value of each channel of each watched value.
    fn extremes(&mut self) -> Result<HashMap<ValueId, Bounds>, Error> {
        let values = observe::watched(&self.layers);
        let own = self.model.graph.outputs.len();
        let mut probe = observe::probe(&self.model, &values, self.load)?;
        let mut bounds: HashMap<ValueId, Bounds> = HashMap::new();
        let total = self.job.images.len();
        for (number, image) in self.job.images.iter().enumerate() {
            let seen = observe::run(&mut probe, image, own + values.len())?;
            for (value, seen) in values.iter().zip(&seen[own..]) {
                observe::widen(bounds.entry(*value).or_default(), seen);
            }
            (self.progress)(Stage::Extremes, number + 1, total);
        }
        Ok(bounds)
    }

    /// Ranges, roundings and biases for channels that are evened out so; and how far the answers are then from fp32.
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

    /// A calibration that knows only the factors that even out the channels.
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
            method: "channels evened out by powers of two; error-minimising ranges; weights per channel, no neighbours of one \
                     sign above 128, rounded by the inputs' covariance; bias correction"
                .to_owned(),
            model_sha256: self.job.model_sha256.clone(),
            images: Images {
                calibration: self.job.images.len(),
                held_back: self.job.held_back.len(),
                sha256: self.job.images_sha256.clone(),
            },
            equalization_power: power,
            range_power: RANGE_POWERS[0],
            held_back: Agreement::default(),
            ranges: Vec::new(),
            layers: self.layers.iter().map(record).collect(),
            gate: self.job.gate.clone(),
        }
    }

    /// The second look, at the graph whose channels are evened out.
    fn observe(
        &mut self,
        base: &Model,
        calibration: &Calibration,
        bounds: &HashMap<ValueId, Bounds>,
    ) -> Result<Observed, Error> {
        let mut whole: HashMap<ValueId, [f32; 2]> = HashMap::new();
        for (value, channels) in bounds {
            let place = self.layers.iter().position(|l| l.output == *value);
            let exponents = place.map_or(&[][..], |i| &calibration.layers[i].equalization);
            let mut ends = [0.0f32; 2];
            for (channel, [low, high]) in channels.iter().enumerate() {
                let factor = f32::from(exponents.get(channel).copied().unwrap_or(0)).exp2();
                ends = [ends[0].min(low / factor), ends[1].max(high / factor)];
            }
            whole.insert(*value, ends);
        }
        let total = self.job.images.len();
        let progress = &mut self.progress;
        observe::observe(base, &self.layers, &whole, self.job.images, self.load, &mut |done| {
            progress(Stage::Distributions, done, total);
        })
    }

    /// Decides the rounding of the weights of some layers, and what their biases make up for.
    fn round(&mut self, base: &Model, pass: Range<usize>, calibration: &mut Calibration) -> Result<(), Error> {
        let layers = &self.layers[pass.clone()];
        let (images, progress) = (self.job.images, &mut self.progress);
        let moments = observe::moments(base, layers, images, self.load, &mut |done| {
            progress(Stage::Distributions, done, images.len());
        })?;
        let (start, total) = (pass.start, self.layers.len());
        let done = Mutex::new(start);
        let slots: Vec<_> = calibration.layers[pass].iter_mut().map(Mutex::new).collect();
        let progress = Mutex::new(&mut self.progress);
        observe::in_parallel(layers.len(), |i| {
            round_layer(base, &layers[i], &moments[i], &mut observe::lock(&slots[i]));
            let mut done = observe::lock(&done);
            *done += 1;
            observe::lock(&progress)(Stage::Rounding, *done, total);
        });
        Ok(())
    }
}

/// Rounding and bias correction of one layer.
fn round_layer(base: &Model, layer: &Layer, moments: &Moments, record: &mut LayerRecord) {
    let weights = layer.weights(&base.graph);
    let scales = scale::scales(&weights, layer.columns, layer.taps());
    let up = rounding::round(&weights, &scales, layer.columns, layer.groups, moments);
    let mut correction = vec![0.0f64; layer.rows];
    let rows_per_group = layer.rows / layer.groups;
    for block in &moments.blocks {
        let means: Vec<f64> = block.means().collect();
        for row in block.group * rows_per_group..(block.group + 1) * rows_per_group {
            let unit = f64::from(scales[row]);
            for (column, mean) in means.iter().enumerate() {
                let i = row * layer.columns + block.start + column;
                let code = f64::from(rounding::code(weights[i] / unit, up[i]));
                correction[row] += (weights[i] - code * unit) * mean;
            }
        }
    }
    record.bias_correction = correction.into_iter().map(short).collect();
    record.rounding = bits::encode(&up);
}

/// Five significant digits, so that a list of corrections can be read.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}
