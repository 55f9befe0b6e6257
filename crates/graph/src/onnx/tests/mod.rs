//! Whole files in and out.

mod dialects;
mod hostile;
mod roundtrip;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::rope::Rope;
use super::{ExternalData, read};
use crate::Model;

/// The model files at hand: the embedded one's dialects and, where it exists, the folder of exports beside the checkout.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
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

/// A message as bytes.
fn encoded(rope: Rope) -> Bytes {
    rope.into_iter().collect::<Vec<Bytes>>().concat().into()
}

/// A `NodeProto`.
fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Rope {
    let mut rope = Rope::default();
    inputs.iter().for_each(|name| rope.bytes(1, name.as_bytes()));
    outputs.iter().for_each(|name| rope.bytes(2, name.as_bytes()));
    rope.text(4, op);
    rope
}

/// A `TensorProto` with raw data.
fn tensor(name: &str, dims: &[i64], code: i64, raw: &[u8]) -> Rope {
    let mut rope = Rope::default();
    dims.iter().for_each(|d| rope.int(1, *d));
    rope.int(2, code);
    rope.bytes(8, name.as_bytes());
    rope.bytes(9, raw);
    rope
}

/// A `ValueInfoProto` that only names.
fn value_info(name: &str) -> Rope {
    let mut rope = Rope::default();
    rope.bytes(1, name.as_bytes());
    rope
}
