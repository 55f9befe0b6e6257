//! The int8 graph of a model, and the gate that it must pass before it is served.

use std::time::Instant;

use super::error::CompileError;
use super::facts::Int8Facts;
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::package::Package;
use super::settings::CompileSettings;
use repserve_preprocess::{JpegDecode, Limits};
use repserve_quantize::{Agreement, Calibration, Judgement, Otherwise, Precision};
use repserve_runtime::{ModelSession, Pool, Runtime, SessionModel, SessionOptions, int8_instructions};
use repserve_scheduler::Width;

/// Images in one run of the gate.
const BATCH: usize = 8;
/// Below this, int8 is not worth the predictions that it changes.
const GAIN_MIN: f64 = 1.2;

/// An int8 graph that has passed the gate.
#[derive(Debug)]
pub struct Quantized {
    /// Makes its sessions.
    pub pool: Pool,
    /// How it did.
    pub int8: Int8Facts,
}

/// What the gate says.
#[derive(Debug)]
pub enum Gated {
    /// The int8 graph may be served.
    Passed(Box<Quantized>),
    /// It may not.
    Refused {
        /// How it did.
        int8: Box<Int8Facts>,
        /// Why.
        reason: String,
    },
}

/// Makes the int8 graph of a deploy graph that is to be served in int8. What did not pass the gate is an error, or where the settings want
/// fp32 in its place, a warning.
///
/// # Errors
/// No calibration that fits, or an int8 graph that differs too much and may not be replaced.
pub(super) fn quantize(
    runtime: &Runtime,
    package: &Package,
    fused: &Fused,
    settings: &CompileSettings,
) -> Result<Gated, CompileError> {
    let quantized = || {
        let gated = gated(runtime, package, fused, settings)?;
        match &gated {
            Gated::Refused { reason, .. } => refuse(settings.gate.otherwise, reason)?,
            Gated::Passed(quantized) => warn_if_slow(quantized.int8.times_as_fast),
        }
        Ok(gated)
    };
    quantized().map_err(|error| CompileError::Int8(Box::new(error)))
}

fn warn_if_slow(times_as_fast: f64) {
    if times_as_fast < GAIN_MIN {
        let reason = match int8_instructions() {
            None => "this processor has no instructions for it (VNNI)",
            Some(_) => "much of this model computes in more than 8 bits, or outside of convolutions",
        };
        tracing::warn!(
            times_as_fast,
            "int8 gains little: {reason}; fp32 is exact and may be faster (precision = \"auto\" measures both)"
        );
    }
}

/// Makes the int8 graph of a deploy graph, as the package's calibration says, and compares both on the calibration's images.
///
/// # Errors
/// No calibration that fits.
pub(super) fn gated(
    runtime: &Runtime,
    package: &Package,
    fused: &Fused,
    settings: &CompileSettings,
) -> Result<Gated, CompileError> {
    let text = package.calibration()?.ok_or(CompileError::NoCalibration)?;
    let calibration = Calibration::parse(&text)?;
    calibration.check_model(&fused.report().source.sha256)?;
    let model = SessionModel::encode(repserve_quantize::rewrite(fused.model().clone(), &calibration)?)?;
    let output = fused.output().map(str::to_owned);
    let pool = Pool::new(runtime, model, output, &settings.runtime)?;
    let gate = Gate::open(runtime, package, fused, &calibration, settings.limits)?;
    let judgement = settings.gate.judge(&calibration.evidence);
    let Compared { here, times_as_fast } = gate.compare(fused, &pool)?;
    let refusal = refusal(&judgement, here, calibration.gate.agreement);
    let served = refusal.is_none();
    let layers_fp32: Vec<String> = calibration.layers_in(Precision::Fp32).map(str::to_owned).collect();
    let layers = calibration.layers_in(Precision::Int8).count();
    tracing::info!(
        %judgement,
        pictures_compared_here = here.images,
        pictures_that_differ_here = here.differing(),
        layers_int8 = layers,
        layers_fp32 = layers_fp32.len(),
        times_as_fast,
        "int8 compared with fp32"
    );
    let int8 = Int8Facts {
        served,
        agreement: calibration.evidence.agreement,
        judgement,
        here,
        times_as_fast,
        layers,
        layers_fp32,
    };
    Ok(match refusal {
        None => Gated::Passed(Box::new(Quantized { pool, int8 })),
        Some(reason) => Gated::Refused {
            int8: Box::new(int8),
            reason,
        },
    })
}

/// Why the int8 graph may not be served, where it may not: the evidence of its calibration, or that it computes something else here.
fn refusal(judgement: &Judgement, here: Agreement, when_calibrated: Agreement) -> Option<String> {
    if !judgement.verdict.admits() {
        return Some(judgement.to_string());
    }
    judgement.wanted.refutes(&here, &when_calibrated).then(|| {
        let pictures = "on the pictures in calibration.json";
        format!("{pictures} it has here {here}, and had {when_calibrated} when it was calibrated")
    })
}

/// An error where nothing may be served in place of the int8 graph.
fn refuse(otherwise: Otherwise, reason: &str) -> Result<(), CompileError> {
    match otherwise {
        Otherwise::Refuse => Err(CompileError::Gate {
            reason: reason.to_owned(),
        }),
        Otherwise::Fp32 => {
            tracing::warn!(
                reason,
                "the int8 graph differs too much from the fp32 graph; the fp32 graph is served"
            );
            Ok(())
        }
    }
}

struct Compared {
    here: Agreement,
    times_as_fast: f64,
}

/// The images of the comparison, and how they are run.
struct Gate<'a> {
    runtime: &'a Runtime,
    output: Option<String>,
    probabilities: bool,
    images: Vec<Vec<f32>>,
    shape: [usize; 3],
}

impl<'a> Gate<'a> {
    fn open(
        runtime: &'a Runtime,
        package: &Package,
        fused: &Fused,
        calibration: &Calibration,
        limits: Limits,
    ) -> Result<Self, CompileError> {
        let input = GraphInput::of(fused.model());
        let preprocess = input.preprocess(&package.manifest.input)?.0.of_pictures();
        let files = calibration.gate_files()?;
        let image = |(i, file): (usize, &Vec<u8>)| {
            let decoded = preprocess.apply(file, &limits, JpegDecode::Exact);
            let decoded = decoded.map_err(|error| CompileError::GateImage { number: i + 1, error })?;
            Ok(decoded.tensor)
        };
        let [height, width] = preprocess.size().map(|side| side as usize);
        Ok(Self {
            runtime,
            output: fused.output().map(str::to_owned),
            probabilities: package.manifest.output.holds_probabilities(&fused.end()),
            images: files
                .iter()
                .enumerate()
                .map(image)
                .collect::<Result<_, CompileError>>()?,
            shape: [input.channels(), height, width],
        })
    }

    /// fp32 in a plain session, int8 in one of those that will serve, both as wide.
    fn compare(&self, fused: &Fused, int8: &Pool) -> Result<Compared, CompileError> {
        let options = SessionOptions {
            threads: int8.plan().cores,
            output: self.output.clone(),
            ..SessionOptions::default()
        };
        let (fp32, fp32_s) = self.run(ModelSession::from_memory(self.runtime, fused.onnx(), &options)?)?;
        let (int8, int8_s) = self.run(int8.session(Width::Wide)?)?;
        Ok(Compared {
            here: repserve_quantize::compare(&fp32, &int8, self.probabilities),
            times_as_fast: fp32_s / int8_s,
        })
    }

    /// A row an image, and the seconds that the fastest whole run took an image.
    fn run(&self, mut session: ModelSession) -> Result<(Vec<Vec<f32>>, f64), CompileError> {
        let mut rows = Vec::with_capacity(self.images.len());
        let mut seconds = f64::INFINITY;
        for some in self.images.chunks(BATCH) {
            let start = Instant::now();
            rows.extend(session.run(some, self.shape)?);
            seconds = seconds.min(start.elapsed().as_secs_f64() / some.len() as f64);
        }
        Ok((rows, seconds))
    }
}
