//! Calibrates a model: runs its deploy graph on images in ONNX Runtime and decides how int8 is to compute.

use sha2::{Digest, Sha256};

use super::error::CompileError;
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::package::Package;
use super::verify::cores;
use repserve_preprocess::{ImageError, JpegDecode, Limits, Preprocess};
use repserve_quantize::{Calibration, GateImages, Goal, GraphRunner, Job, Progress, Step, Values};
use repserve_runtime::{MultiOutputSession, Runtime};

/// Pictures for the gate and their bytes: they lie in `calibration.json`. However large they are, there are some.
const PICTURES_MAX: usize = 64;
const PICTURES_MIN: usize = 4;
const PICTURE_BYTES_MAX: usize = 48 << 10;
/// JPEG's quality for them.
const PICTURE_QUALITY: u8 = 65;

/// Images to calibrate on, prepared for the model.
#[derive(Debug)]
pub struct CalibrationImages {
    preprocess: Preprocess,
    limits: Limits,
    jpeg: JpegDecode,
    tensors: Vec<Vec<f32>>,
    labels: Vec<Option<usize>>,
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
            labels: Vec::new(),
            hash: Sha256::new(),
        })
    }

    /// Adds an image file, and its class where that is known.
    ///
    /// # Errors
    /// It cannot be read; it is left out then.
    pub fn add(&mut self, file: &[u8], label: Option<usize>) -> Result<(), ImageError> {
        let decoded = self.preprocess.apply(file, &self.limits, self.jpeg)?;
        self.hash.update(Sha256::digest(file));
        self.tensors.push(decoded.tensor);
        self.labels.push(label);
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
}

/// How to calibrate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// What to reach.
    pub goal: Goal,
    /// Steps that are left out.
    pub without: &'a [Step],
    /// Other views of each image that int8 is compared with fp32 on.
    pub views: usize,
}

/// Calibrates the model on the images.
///
/// # Errors
/// A model that cannot be fused, run or quantized, or too few images.
pub fn calibrate(
    runtime: &Runtime,
    package: &Package,
    images: CalibrationImages,
    wanted: Wanted<'_>,
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
    let digest = images.hash.clone().finalize();
    let images_sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (gate, pictures) = pictures(&images)?;
    let job = Job {
        probabilities: package.manifest.output.holds_probabilities(&fused.end()),
        deploy: fused.model().clone(),
        model_sha256: fused.report().source.sha256.clone(),
        images: &images.tensors,
        labels: &images.labels,
        images_sha256,
        goal: wanted.goal,
        without: wanted.without,
        views: wanted.views,
        size: [height, width],
        gate,
        pictures: &pictures,
    };
    Ok(repserve_quantize::calibrate(&job, &load, progress)?)
}

/// Some of the images as pictures of the network's input size, and as what a server will make of these.
fn pictures(images: &CalibrationImages) -> Result<(GateImages, Vec<Vec<f32>>), CompileError> {
    let preprocess = &images.preprocess;
    let file = |i: usize| {
        let picture = preprocess.picture(&images.tensors[i], PICTURE_QUALITY);
        picture.map_err(CompileError::Picture)
    };
    let some = spread(images.len(), PICTURES_MIN).map(file);
    let bytes: usize = some.map(|file| file.map(|f| f.len())).sum::<Result<_, _>>()?;
    let fit = PICTURE_BYTES_MAX * PICTURES_MIN / bytes.max(1);
    let files: Vec<Vec<u8>> = spread(images.len(), fit.clamp(PICTURES_MIN, PICTURES_MAX))
        .map(file)
        .collect::<Result<_, _>>()?;
    let of_pictures = preprocess.of_pictures();
    let decoded = |file: &Vec<u8>| {
        let decoded = of_pictures.apply(file, &images.limits, JpegDecode::Exact);
        decoded.map(|decoded| decoded.tensor).map_err(CompileError::Picture)
    };
    let tensors = files.iter().map(decoded).collect::<Result<_, _>>()?;
    let [height, width] = preprocess.size();
    let source = format!("of the calibration images, as JPEG of {width}x{height} pixels");
    Ok((GateImages::new(source, &files), tensors))
}

/// At most `count` places of `all`, evenly spread.
fn spread(all: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(all);
    (0..count).map(move |i| (2 * i + 1) * all / (2 * count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::built_in;

    #[test]
    fn pictures_are_spread_and_are_what_a_server_will_see() {
        let mut images = CalibrationImages::new(&built_in(), Limits::default(), JpegDecode::default()).unwrap();
        let preprocess = images.preprocess.clone();
        for i in 0..100u8 {
            images
                .tensors
                .push((0..3 * 32 * 32).map(|n| preprocess.value(n / 1024, 2 * i)).collect());
            images.labels.push(None);
        }
        let (gate, tensors) = pictures(&images).unwrap();
        assert_eq!((gate.images.len(), tensors.len()), (PICTURES_MAX, PICTURES_MAX));
        let [first, last] = [&tensors[0], &tensors[PICTURES_MAX - 1]].map(|t| t[0]);
        assert!(first < preprocess.value(0, 8) && last > preprocess.value(0, 190));
        assert_eq!(spread(3, 10).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(100, 4).collect::<Vec<_>>(), [12, 37, 62, 87]);
        assert_eq!(spread(0, 4).count(), 0);
    }
}
