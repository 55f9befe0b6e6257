//! Calibrates a model: runs its deploy graph on images in ONNX Runtime and decides how int8 is to compute.

use sha2::{Digest, Sha256};

use super::error::CompileError;
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::package::Package;
use super::verify::cores;
use repserve_preprocess::{ImageError, JpegDecode, Limits, Preprocess};
use repserve_quantize::{Calibration, GateImages, Goal, GraphRunner, Job, Progress, Values};
use repserve_runtime::{MultiOutputSession, Runtime};

/// The share of the images that are held out is one in this many.
const HELD_OUT_ONE_IN: usize = 4;
/// Images that are held out at most.
const HELD_OUT_MAX: usize = 128;
/// Images for the gate at most, and their pixels: they lie in `calibration.json`.
const GATE_IMAGES_MAX: usize = 100;
const GATE_PIXELS_MAX: usize = 32 * 224 * 224;
/// Images for the gate, however large they are.
const GATE_IMAGES_MIN: usize = 8;

/// Images to calibrate on, prepared for the model.
#[derive(Debug)]
pub struct CalibrationImages {
    preprocess: Preprocess,
    limits: Limits,
    jpeg: JpegDecode,
    tensors: Vec<Vec<f32>>,
    hash: Sha256,
}

impl CalibrationImages {
    /// None yet, of those that `package` takes.
    ///
    /// # Errors
    /// An input that cannot be prepared.
    pub fn new(package: &Package, limits: Limits, jpeg: JpegDecode) -> Result<Self, CompileError> {
        Ok(Self {
            preprocess: Preprocess::try_from(package.manifest.input.clone())?,
            limits,
            jpeg,
            tensors: Vec::new(),
            hash: Sha256::new(),
        })
    }

    /// Adds an image file.
    ///
    /// # Errors
    /// It cannot be read; it is left out then.
    pub fn add(&mut self, file: &[u8]) -> Result<(), ImageError> {
        let decoded = self.preprocess.apply(file, &self.limits, self.jpeg)?;
        self.hash.update(Sha256::digest(file));
        self.tensors.push(decoded.tensor);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Those to calibrate on and those that are held out, evenly spread.
    fn split(self) -> [Vec<Vec<f32>>; 2] {
        let count = self.tensors.len();
        let back = (count / HELD_OUT_ONE_IN).min(HELD_OUT_MAX);
        let kept: Vec<usize> = (0..back).map(|i| (2 * i + 1) * count / (2 * back)).collect();
        let mut parts = [Vec::new(), Vec::new()];
        for (i, tensor) in self.tensors.into_iter().enumerate() {
            parts[usize::from(kept.binary_search(&i).is_ok())].push(tensor);
        }
        parts
    }
}

/// Calibrates the model on the images.
///
/// # Errors
/// A model that cannot be fused, run or quantized, or too few images.
pub fn calibrate(
    runtime: &Runtime,
    package: &Package,
    images: CalibrationImages,
    goal: Goal,
    progress: &mut Progress<'_>,
) -> Result<Calibration, CompileError> {
    let fused = Fused::new(package.source())?;
    let [height, width] = package.image_size();
    let input = GraphInput::of(fused.model());
    input.preprocess(&package.manifest.input)?;
    if input.channels() != 3 {
        return Err(CompileError::CalibrationChannels);
    }
    let shape = [3, height, width];
    let runtime = runtime.clone();
    let load = move |onnx: &[u8]| -> Result<GraphRunner<'static>, String> {
        let mut graph = MultiOutputSession::from_memory(&runtime, onnx, cores()).map_err(|e| e.to_string())?;
        Ok(Box::new(move |image| {
            let outputs = graph.run(image, shape).map_err(|e| e.to_string())?;
            Ok(outputs
                .into_iter()
                .map(|(shape, data)| Values { shape, data })
                .collect())
        }))
    };
    let preprocess = images.preprocess.clone();
    let digest = images.hash.clone().finalize();
    let images_sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let [images, held_out] = images.split();
    let job = Job {
        probabilities: package.manifest.output.holds_probabilities(&fused.end()),
        deploy: fused.model().clone(),
        model_sha256: fused.report().source.sha256.clone(),
        images: &images,
        held_out: &held_out,
        images_sha256,
        goal,
        gate: gate(&preprocess, &held_out)?,
    };
    Ok(repserve_quantize::calibrate(&job, &load, progress)?)
}

/// Some of the images that were held out, as pictures of the network's input size.
fn gate(preprocess: &Preprocess, held_out: &[Vec<f32>]) -> Result<GateImages, CompileError> {
    let [height, width] = preprocess.size().map(|side| side as usize);
    let most = (GATE_PIXELS_MAX / (height * width).max(1)).clamp(GATE_IMAGES_MIN, GATE_IMAGES_MAX);
    let count = most.min(held_out.len());
    let chosen = (0..count).map(|i| &held_out[i * held_out.len() / count]);
    let files: Vec<Vec<u8>> = chosen
        .map(|tensor| preprocess.picture(tensor))
        .collect::<Result<_, _>>()
        .map_err(CompileError::Picture)?;
    let source = format!("held out of calibration, as JPEG of {width}x{height} pixels");
    Ok(GateImages::new(source, &files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::built_in;

    #[track_caller]
    fn check(count: u8, expected: [usize; 2], first: f32) {
        let package = built_in();
        let mut images = CalibrationImages::new(&package, Limits::default(), JpegDecode::default()).unwrap();
        images.tensors = (0..count).map(|i| vec![f32::from(i)]).collect();
        let [calibration, held_out] = images.split();
        assert_eq!([calibration.len(), held_out.len()], expected);
        assert_eq!(held_out.first().map(|t| t[0]), Some(first).filter(|_| expected[1] > 0));
    }

    #[test]
    fn a_quarter_is_held_out_evenly_spread() {
        check(100, [75, 25], 2.0);
        check(3, [3, 0], 0.0);
        check(255, [192, 63], 2.0);
    }
}
