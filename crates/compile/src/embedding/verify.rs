//! Whether embeddings of the deploy graph are those of the train-time graph.

use super::super::error::CompileError;
use super::super::fused::Fused;
use super::super::verify::{Answer, cores, run};
use super::{Known, expose_value};
use repserve_graph::onnx;
use repserve_reparam::equivalence::{Output, Probe, relative_error};
use repserve_runtime::{Batching, ModelSession, Runtime, SessionOptions};

/// Values below this count as zero.
const SCALE_MIN: f64 = 1e-6;

/// The deploy graph's embeddings of each probe. They are compared with what the train-time graph makes of each image alone.
///
/// # Errors
/// One that differs by more than `relative_error_max`, or that is not made image by image; a graph that does not run.
pub(in super::super) fn embedded(
    runtime: &Runtime,
    fused: &Fused,
    probes: &[Probe],
    batching: Batching,
    relative_error_max: f64,
) -> Result<Vec<Vec<Output>>, CompileError> {
    if fused.embeddings().is_empty() {
        return Ok(vec![Vec::new(); probes.len()]);
    }
    let alone = match batching {
        Batching::Free => Batching::Alone,
        fixed => fixed,
    };
    let mut train = session(runtime, &train_time(fused)?, fused)?.with_batching(alone);
    let mut deploy = session(runtime, fused.onnx(), fused)?.with_batching(batching);
    probes
        .iter()
        .map(|probe| {
            let expected = run(&mut train, probe).map_err(CompileError::TrainTime)?;
            let found = run(&mut deploy, probe)?;
            differences(fused, &expected, &found, relative_error_max)?;
            Ok(found.further)
        })
        .collect()
}

/// Compares the embeddings of a run with those that are expected.
pub(in super::super) fn compare_embedded(expected: &[Output], found: &[Output]) -> f64 {
    let pairs = expected.iter().zip(found);
    let errors = pairs.map(|(a, b)| match a.data.len() == b.data.len() {
        true => relative_error(&a.data, &b.data, SCALE_MIN),
        false => f64::NAN,
    });
    // NaN counts as the largest.
    errors.fold(0.0, |worst: f64, error| if error <= worst { worst } else { error })
}

fn differences(fused: &Fused, expected: &Answer, found: &Answer, relative_error_max: f64) -> Result<(), CompileError> {
    let outputs = expected.further.iter().zip(&found.further);
    for (embedding, (a, b)) in fused.embeddings().iter().zip(outputs) {
        let images = b.shape.first().copied().unwrap_or(1);
        let error = compare_embedded(std::slice::from_ref(a), std::slice::from_ref(b));
        let whole = b.data.len() == images * embedding.values();
        if !whole || error.is_nan() || error > relative_error_max {
            return Err(CompileError::EmbeddingDiffers {
                name: embedding.name.clone(),
                numbers: format!("relative error {error:.2e}, {relative_error_max:.1e} allowed"),
            });
        }
    }
    Ok(())
}

/// The train-time graph with the embeddings as further outputs.
fn train_time(fused: &Fused) -> Result<Vec<u8>, CompileError> {
    let mut model = fused.source().model()?;
    for embedding in fused.embeddings() {
        let name = &embedding.name;
        let value = model.graph.find(name).ok_or_else(|| CompileError::Embedding {
            name: name.clone(),
            reason: "the train-time graph has no such value".to_owned(),
            possible: String::new(),
        })?;
        let dtype = Known::of(&model).dtype(value);
        expose_value(&mut model, value, dtype);
    }
    Ok(onnx::write(model).map_err(repserve_reparam::Error::from)?)
}

fn session(runtime: &Runtime, onnx: &[u8], fused: &Fused) -> Result<ModelSession, CompileError> {
    let options = SessionOptions {
        threads: cores(),
        output: fused.output().map(str::to_owned),
        further: fused.embedding_names(),
        ..SessionOptions::default()
    };
    Ok(ModelSession::from_memory(runtime, onnx, &options)?)
}
