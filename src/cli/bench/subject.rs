//! What is measured, and what is sent to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;

use super::Args;
use crate::model::built_in;
use repserve_compile::Package;
use repserve_files as files;
use repserve_graph::onnx;
use repserve_measure::load::Target;
use repserve_measure::{picture, synth};

/// Bytes of the image to send at most.
const IMAGE_BYTES_MAX: u64 = 1 << 30;

/// A model to measure and what is sent to it.
pub(super) struct Subject {
    pub(super) name: String,
    /// The folder of the model; `None` for the one that is built in.
    pub(super) folder: Option<PathBuf>,
    pub(super) image: Bytes,
}

/// The models that `args` names.
pub(super) fn subjects(args: &Args, scratch: &Path) -> anyhow::Result<Vec<Subject>> {
    let given = args.image.as_deref().map(read).transpose()?;
    let image = |width, height| match &given {
        Some(bytes) => Ok(bytes.clone()),
        None => picture::jpeg(width, height).map(Bytes::from),
    };
    if let Some(folder) = &args.model {
        let name = Package::manifest(folder)?.name;
        return Ok(vec![Subject {
            name,
            folder: Some(folder.clone()),
            image: image(500, 375)?,
        }]);
    }
    let built_in = Subject {
        name: built_in()?.manifest.name,
        folder: None,
        image: image(32, 32)?,
    };
    let [architecture, ..] = &synth::ARCHITECTURES;
    let model = synth::repvgg(architecture, 224, 1000, 1);
    std::fs::write(scratch.join("model.onnx"), onnx::write(model)?)?;
    std::fs::write(
        scratch.join("model.toml"),
        format!("name = \"{}\"\n{GENERATED}", architecture.name),
    )?;
    let folder = Some(scratch.to_owned());
    Ok(vec![
        built_in,
        Subject {
            name: architecture.name.to_owned(),
            folder,
            image: image(500, 375)?,
        },
    ])
}

/// The rest of a generated model's `model.toml`.
const GENERATED: &str = r#"version = "1"
file = "model.onnx"

[input]
size = [224, 224]
resize = 256
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"#;

/// The server at `address`, which takes the image as it is in its file.
pub(super) fn foreign(args: &Args, address: SocketAddr) -> anyhow::Result<Target> {
    let file = args.image.as_deref().context("--server needs --image")?;
    Ok(Target {
        content_type: args.content_type.clone(),
        ..Target::classify(address, read(file)?)
    })
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    let bytes = files::read(file, IMAGE_BYTES_MAX).with_context(|| file.display().to_string())?;
    Ok(bytes.into())
}
