//! In which arithmetic a model is served: the int8 graph, and the gate that it must pass.

use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;

use super::clock::Clock;
use crate::classify::Int8;
use crate::config::Settings;
use crate::model::{OutputKind, Package, Precision};
use repserve_graph::onnx::{self, ExternalData};
use repserve_preprocess::{JpegDecode, Preprocess};
use repserve_quantize::{Agreement, Calibration, GateSettings, Otherwise};
use repserve_reparam::Deployed;
use repserve_runtime::{Layers, ModelSession, Pool, Runtime, SessionOptions};
use repserve_scheduler::Width;

/// Images in one run of the gate.
const BATCH: usize = 8;
/// Below this, int8 is not worth the answers that it changes.
const GAIN_MIN: f64 = 1.2;

/// The graph to serve.
pub(super) struct Chosen {
    /// An ONNX file that holds its weights.
    pub(super) onnx: Bytes,
    /// Its arithmetic.
    pub(super) precision: Precision,
    /// How the int8 graph did, where one was asked for.
    pub(super) int8: Option<Int8>,
    /// What makes the graph's sessions, where the gate has run one already.
    pub(super) pool: Option<Pool>,
}

/// The deploy graph, or its int8 graph where settings and model say so and the gate lets it pass.
///
/// # Errors
/// int8 without a calibration that fits, or an int8 graph that strays too far and may not be replaced.
pub(super) fn choose(
    runtime: &Runtime,
    package: &Package,
    deployed: &Deployed,
    settings: &Settings,
    clock: &mut Clock<'_>,
) -> anyhow::Result<Chosen> {
    let fp32 = Chosen {
        onnx: deployed.onnx.clone().into(),
        precision: Precision::Fp32,
        int8: None,
        pool: None,
    };
    match settings.model.precision.of(&package.manifest) {
        Precision::Fp32 => Ok(fp32),
        Precision::Int8 => clock.time("quantize", || {
            int8(runtime, package, deployed, settings, fp32).context("int8")
        }),
    }
}

fn int8(
    runtime: &Runtime,
    package: &Package,
    deployed: &Deployed,
    settings: &Settings,
    fp32: Chosen,
) -> anyhow::Result<Chosen> {
    let Some(text) = package.calibration()? else {
        bail!("the model has no calibration.json; `repserve calibrate --model DIR --images DIR` writes it");
    };
    let calibration = Calibration::parse(&text)?;
    calibration.check_model(&deployed.report.source.sha256)?;
    let deploy = onnx::read(fp32.onnx.clone(), &ExternalData::None)?;
    let onnx = Bytes::from(onnx::write(repserve_quantize::rewrite(deploy, &calibration)?)?);
    let output = package.manifest.output.name.clone();
    let pool = Pool::new(runtime, onnx.clone(), Layers::default(), output, &settings.runtime)?;
    let gate = Gate::open(runtime, package, &calibration, settings)?;
    let Compared {
        agreement,
        times_as_fast,
    } = gate.compare(&fp32.onnx, &pool)?;
    let served = passes(&settings.quantize, &agreement)?;
    let layers_fp32: Vec<String> = calibration.layers_in(Precision::Fp32).map(str::to_owned).collect();
    tracing::info!(
        %agreement,
        layers_int8 = calibration.layers_in(Precision::Int8).count(),
        layers_fp32 = layers_fp32.len(),
        times_as_fast,
        "int8 compared with fp32"
    );
    if served && times_as_fast < GAIN_MIN {
        tracing::warn!(
            times_as_fast,
            "int8 gains little on this processor: it has no instructions for it (VNNI); fp32 keeps the answers and may be faster"
        );
    }
    let facts = Int8 {
        served,
        agreement,
        times_as_fast,
        layers: calibration.layers_in(Precision::Int8).count(),
        layers_fp32,
    };
    Ok(Chosen {
        int8: Some(facts),
        ..if served {
            Chosen {
                onnx,
                precision: Precision::Int8,
                int8: None,
                pool: Some(pool),
            }
        } else {
            fp32
        }
    })
}

/// Whether the int8 graph may be served; an error where it may not and nothing may be served in its place.
fn passes(gate: &GateSettings, agreement: &Agreement) -> anyhow::Result<bool> {
    if gate.admits(agreement) {
        return Ok(true);
    }
    let found = format!(
        "the int8 graph strays too far from the fp32 graph ({agreement}; wanted: at least {:.2} %, at most {} nats)",
        100.0 * gate.top1_agreement_min,
        gate.kl_divergence_max
    );
    match gate.otherwise {
        Otherwise::Refuse => {
            bail!("{found}; calibrate again on more images, serve fp32, or see quantize.otherwise in the settings")
        }
        Otherwise::Fp32 => {
            tracing::warn!("{found}; the fp32 graph is served");
            Ok(false)
        }
    }
}

struct Compared {
    agreement: Agreement,
    times_as_fast: f64,
}

/// The images of the comparison, and how they are run.
struct Gate<'a> {
    runtime: &'a Runtime,
    output: Option<String>,
    kind: OutputKind,
    images: Vec<Vec<f32>>,
    shape: [usize; 3],
}

impl<'a> Gate<'a> {
    fn open(
        runtime: &'a Runtime,
        package: &Package,
        calibration: &Calibration,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let preprocess = Preprocess::try_from(package.manifest.input.clone())?.of_pictures();
        let limits = settings.limits.image();
        let files = calibration.gate_files()?;
        let image = |(i, file): (usize, &Vec<u8>)| {
            let decoded = preprocess.apply(file, &limits, JpegDecode::Exact);
            let named = || format!("calibration.json: image {} of `gate`", i + 1);
            Ok(decoded.with_context(named)?.tensor)
        };
        let [height, width] = preprocess.size().map(|side| side as usize);
        Ok(Self {
            runtime,
            output: package.manifest.output.name.clone(),
            kind: package.manifest.output.kind,
            images: files.iter().enumerate().map(image).collect::<anyhow::Result<_>>()?,
            shape: [3, height, width],
        })
    }

    /// fp32 in a plain session, int8 in one of those that will serve, both as wide.
    fn compare(&self, fp32: &[u8], int8: &Pool) -> anyhow::Result<Compared> {
        let options = SessionOptions {
            threads: int8.plan().cores,
            output: self.output.clone(),
            ..SessionOptions::default()
        };
        let (fp32, fp32_s) = self.answers(ModelSession::from_memory(self.runtime, fp32, &options)?)?;
        let (int8, int8_s) = self.answers(int8.session(Width::Wide)?)?;
        Ok(Compared {
            agreement: repserve_quantize::compare(&fp32, &int8, self.kind == OutputKind::Probabilities),
            times_as_fast: fp32_s / int8_s,
        })
    }

    /// A row an image, and the seconds that the fastest whole run took an image.
    fn answers(&self, mut session: ModelSession) -> anyhow::Result<(Vec<Vec<f32>>, f64)> {
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
