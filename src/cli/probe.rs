//! Inputs on which `convert` compares two graphs.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::classify::files;
use super::model_file::ModelFile;
use super::output;
use crate::config::Settings;
use repserve_compile::{Fused, Manifest};
use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Preprocess};
use repserve_reparam::equivalence::Probe;
use repserve_runtime::{ModelSession, Runtime, SessionOptions};

/// Side of the images where neither the graph nor a `model.toml` says it, in pixels.
const SIDE: usize = 224;
/// Images in one batch.
const BATCH: usize = 8;

/// Channels, height and width that the model takes.
pub(super) fn shape(runtime: &Runtime, model: &ModelFile, fused: &Fused) -> anyhow::Result<[usize; 3]> {
    let options = SessionOptions {
        threads: 1,
        output: model.options.output.clone(),
        ..SessionOptions::default()
    };
    let session = model.named(ModelSession::from_memory(runtime, fused.onnx(), &options))?;
    let [channels, height, width] = session.input().image;
    let size = model.manifest.as_ref().map(|m| m.input.size.map(|side| side as usize));
    let [h, w] = size.unwrap_or([SIDE, SIDE]);
    Ok([channels.unwrap_or(3), height.unwrap_or(h), width.unwrap_or(w)])
}

/// The images of a folder as inputs; prepared as the `model.toml` says, otherwise as ImageNet's models expect it.
pub(super) fn images(
    folder: &Path,
    image: [usize; 3],
    manifest: Option<&Manifest>,
    settings: &Settings,
) -> anyhow::Result<Vec<Probe>> {
    let [channels, height, width] = image;
    ensure!(
        channels == 3,
        "the model takes {channels} channels, not the 3 of an image"
    );
    let spec = manifest.map_or_else(|| imagenet(height as u32, width as u32), |m| m.input.clone());
    let preprocess = Preprocess::try_from(InputSpec {
        size: [height as u32, width as u32],
        ..spec
    })?;
    let mut probes: Vec<Probe> = Vec::new();
    for listed in files::list(&[PathBuf::from(folder)]) {
        let path = &listed.path;
        let bytes = listed.read(settings.limits.image_bytes_max as u64);
        let decoded = bytes.and_then(|bytes| {
            let decoded = preprocess.apply(&bytes, &settings.limits.image(), JpegDecode::default());
            decoded.map_err(|e| e.to_string())
        });
        match decoded {
            Ok(decoded) => push(&mut probes, image, decoded.tensor, path),
            Err(error) => output::complain(&format!("{}: left out: {error}", path.display())),
        }
    }
    ensure!(
        !probes.is_empty(),
        "{} holds no image that can be read",
        folder.display()
    );
    Ok(probes)
}

fn push(probes: &mut Vec<Probe>, image: [usize; 3], tensor: Vec<f32>, path: &Path) {
    match probes.last_mut().filter(|probe| probe.shape[0] < BATCH) {
        Some(probe) => {
            probe.shape[0] += 1;
            probe.data.extend(tensor);
        }
        None => probes.push(Probe {
            label: format!("{} and those after it", path.display()),
            shape: std::iter::once(1).chain(image).collect(),
            data: tensor,
        }),
    }
}

fn imagenet(height: u32, width: u32) -> InputSpec {
    InputSpec {
        size: [height, width],
        resize: None,
        interpolation: Interpolation::Bilinear,
        scale: 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}
