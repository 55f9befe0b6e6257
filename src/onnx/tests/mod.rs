//! Whole files in and out.

mod roundtrip;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{ExternalData, read};
use crate::graph::Model;

/// The model files at hand: the embedded one's dialects and, where it exists, the folder of exports beside the checkout.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "models/repvgg-cifar10",
        "../shared/onnx",
        "../shared/onnx/repvgg_paper.dynamo_external",
    ];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|f| std::fs::read_dir(root.join(f)).ok())
        .flatten()
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the embedded model is missing");
    files
}

fn load(path: &Path) -> Model {
    let folder = path.parent().unwrap().to_path_buf();
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    read(bytes, &ExternalData::Folder(folder)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
