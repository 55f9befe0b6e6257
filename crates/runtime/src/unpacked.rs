//! A model in a folder, with its weights in a file of their own. ONNX Runtime maps that file, where it copies weights that are inside of a
//! model: making a session that reorders them then takes two copies of them, one of which is the file's, and not four.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;

use super::error::RuntimeError;
use repserve_graph::onnx::{self, ExternalData, OnnxError};

/// Bytes of a model from which on it is unpacked; for smaller ones the memory is not worth the files.
const UNPACKED_BYTES_MIN: usize = 4 << 20;
/// Tensors below this size stay in the graph.
const BESIDE_BYTES_MIN: usize = 1024;

const GRAPH_FILE: &str = "unpacked.onnx";
const WEIGHTS_FILE: &str = "unpacked.weights";

/// A session of the model, by way of files in `folder`, which it goes on reading. Where that cannot be written the session is made of memory.
///
/// # Errors
/// ONNX Runtime refuses the model.
pub(super) fn session(mut builder: SessionBuilder, model: &Bytes, folder: &Path) -> Result<OrtSession, RuntimeError> {
    let file = (model.len() >= UNPACKED_BYTES_MIN).then(|| write(model, folder));
    let session = match file {
        Some(Ok(file)) => builder.commit_from_file(file),
        Some(Err(error)) => {
            tracing::debug!(%error, folder = %folder.display(), "a model cannot be unpacked there; loading it takes more memory");
            builder.commit_from_memory(model)
        }
        None => builder.commit_from_memory(model),
    };
    session.map_err(|e| RuntimeError::Model(e.to_string()))
}

fn write(model: &Bytes, folder: &Path) -> Result<PathBuf, RuntimeError> {
    let refused = |error: OnnxError| RuntimeError::Model(error.to_string());
    let model = onnx::read(model.clone(), &ExternalData::None).map_err(refused)?;
    let weights = BufWriter::new(File::create(folder.join(WEIGHTS_FILE))?);
    let graph = onnx::write_beside(model, WEIGHTS_FILE, BESIDE_BYTES_MIN, weights).map_err(refused)?;
    let file = folder.join(GRAPH_FILE);
    std::fs::write(&file, graph)?;
    Ok(file)
}
