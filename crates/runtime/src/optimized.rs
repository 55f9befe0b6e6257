//! A model that ONNX Runtime has optimized once, for any number of sessions.
//!
//! ONNX Runtime reorders weights for the machine while it optimizes a graph, so that every plain session holds its own
//! reordered copy (and, while it loads, a second one). Here the graph is optimized once and saved with its weights beside
//! it, and read again: this is the only way to what ONNX Runtime made of it. Each session is then made from that graph with optimization
//! off. Where weights are shared they are handed in, and ONNX Runtime uses them where they lie (`weights`). What kernels prepack on
//! top is shared through a container of its own.
//!
//! An int8 graph keeps its weights inside: its convolutions become operators that share theirs (`crate::int8`), whether or not the
//! other weights are shared. Where this processor has no instructions for those, ONNX Runtime packs them for each session and frees
//! what it read. Convolutions that stay in f32 share their weights as in any graph.
//! `docs/memory.md` has the measurements.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use serde::{Deserialize, Serialize};

use super::error::RuntimeError;
use super::heap::return_freed_memory;
use super::int8;
use super::locate::Runtime;
use super::operators::Layers;
use super::session::{SessionOptions, builder};
use super::session_model::{SessionModel, encoded};
use super::unpacked;
use super::weights::{Weight, WeightedSession};
use repserve_graph::onnx::{self, ExternalData};
use repserve_graph::{DType, Tensor};
use repserve_kernels::{Int8Isa, PreparedInt8Conv};

/// Tensors below this size stay in the graph: sharing them saves less than it costs.
const SHARED_BYTES_MIN: usize = 1024;

const GRAPH_FILE: &str = "optimized.onnx";
const WEIGHTS_FILE: &str = "weights.bin";

/// An optimized graph, from which sessions are made.
pub(super) struct OptimizedModel {
    pub(super) operators: BTreeMap<String, usize>,
    pub(super) graph: Bytes,
    pub(super) layers: Layers,
    /// Weights that all sessions share; the others are in the graph.
    pub(super) weights: Vec<Weight>,
    pub(super) share_weights: bool,
    /// Whether those weights lie beside the graph, not in it.
    pub(super) external: bool,
    /// `None` for int8: ONNX Runtime's kernel packs weights for itself and refuses a container.
    prepacked: Option<PrepackedWeights>,
}

/// What of an optimized model is no bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OptimizedRecord {
    operators: BTreeMap<String, usize>,
    share_weights: bool,
    external: bool,
    prepacks: bool,
}

/// Whether a model computes in int8, and in whose kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Int8 {
    /// It does not.
    None,
    /// ONNX Runtime's.
    OnnxRuntime,
    /// This program's own, where they compute a layer.
    Own(Int8Isa),
}

impl std::fmt::Debug for OptimizedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptimizedModel")
            .field("graph_bytes", &self.graph.len())
            .field("weights", &self.weights.len())
            .finish_non_exhaustive()
    }
}

impl OptimizedModel {
    /// Optimizes `model` at the highest level, by way of a temporary folder that is gone afterwards.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model, the folder cannot be written, or weights are to be shared and the optimized graph holds
    /// large tensors of a kind that cannot be. In the last two cases plain sessions still work.
    pub(super) fn new(
        runtime: &Runtime,
        model: &SessionModel,
        int8: Int8,
        share_weights: bool,
    ) -> Result<Self, RuntimeError> {
        const PREFIX: &str = "session.optimized_model_external_initializers";
        let folder = tempfile::tempdir()?;
        let (model, finer) = with_finer_layers(model, int8)?;
        let options = SessionOptions {
            layers: model.layers.clone(),
            int8_as_given: int8 != Int8::None,
            ..SessionOptions::default()
        };
        let builder = builder(runtime, &options)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(refused)?
            .with_optimized_model_path(folder.path().join(GRAPH_FILE))
            .map_err(refused)?
            .with_config_entry(format!("{PREFIX}_file_name"), WEIGHTS_FILE)
            .map_err(refused)?
            .with_config_entry(format!("{PREFIX}_min_size_in_bytes"), SHARED_BYTES_MIN.to_string())
            .map_err(refused)?;
        drop(unpacked::session(builder, &model.onnx, folder.path())?);
        return_freed_memory();
        Self::read(folder.path(), model.layers, finer, int8, share_weights)
    }

    fn read(
        folder: &Path,
        layers: Layers,
        finer: Vec<PreparedInt8Conv>,
        int8: Int8,
        share_weights: bool,
    ) -> Result<Self, RuntimeError> {
        let graph = Bytes::from(std::fs::read(folder.join(GRAPH_FILE))?);
        let external = ExternalData::Folder(folder.to_owned());
        let mut model = onnx::read(graph.clone(), &external).map_err(|e| RuntimeError::Model(e.to_string()))?;
        let layers = match int8 {
            Int8::Own(isa) => int8::lower(&mut model, layers, finer, isa),
            Int8::None | Int8::OnnxRuntime => layers,
        };
        let mut weights = Vec::new();
        let shared = |tensor: &Tensor| share_weights && is_shared(tensor, int8);
        for (id, tensor) in model.graph.constants().filter(|(_, tensor)| shared(tensor)) {
            let name = &model.graph.value(id).name;
            let memory = match int8 {
                // All that is in this file is shared.
                Int8::None => tensor.data().clone(),
                _ => Bytes::copy_from_slice(tensor.data()),
            };
            weights.push(Weight::new(
                name.clone(),
                tensor.dtype(),
                tensor.shape().to_vec(),
                memory,
            )?);
        }
        let operators = model.graph.op_counts();
        let (graph, prepacked) = match int8 {
            // Every weight that lies beside this graph is one of those that are handed in.
            Int8::None if share_weights => (graph, Some(PrepackedWeights::new())),
            _ => (encoded(model)?, None),
        };
        Ok(Self {
            operators,
            graph,
            layers,
            weights,
            share_weights,
            external: prepacked.is_some(),
            prepacked,
        })
    }

    /// The same, once a session of it has been made. Some kernels, such as those of graphs that came quantized, refuse a container for
    /// what they prepack: then each session prepacks for itself.
    ///
    /// # Errors
    /// No session can be made: the graph as it was found may still load.
    pub(super) fn that_loads(mut self, runtime: &Runtime) -> Result<Self, RuntimeError> {
        if self.prepacked.is_none() || self.session(runtime, 1).is_ok() {
            return Ok(self);
        }
        self.prepacked = None;
        match self.session(runtime, 1) {
            Ok(_) => Ok(self),
            Err(error) => Err(RuntimeError::Unsupported(error.to_string())),
        }
    }

    /// Whether a further session holds next to no weights of its own.
    pub(super) fn shares(&self) -> bool {
        self.share_weights && (self.prepacked.is_some() || self.layers.int8_kernels().is_some())
    }

    /// The model that was optimized before.
    pub(super) fn restored(record: OptimizedRecord, graph: Bytes, layers: Layers, weights: Vec<Weight>) -> Self {
        Self {
            operators: record.operators,
            graph,
            layers,
            weights,
            share_weights: record.share_weights,
            external: record.external,
            prepacked: record.prepacks.then(PrepackedWeights::new),
        }
    }

    /// What [`Self::restored`] takes, besides graph, layers and weights.
    pub(super) fn record(&self) -> OptimizedRecord {
        OptimizedRecord {
            operators: self.operators.clone(),
            share_weights: self.share_weights,
            external: self.external,
            prepacks: self.prepacked.is_some(),
        }
    }

    /// One more session of the optimized graph.
    pub(super) fn session(&self, runtime: &Runtime, threads: usize) -> Result<WeightedSession, RuntimeError> {
        let options = SessionOptions {
            threads,
            layers: self.layers.clone(),
            ..SessionOptions::default()
        };
        let mut builder = builder(runtime, &options)?
            .with_optimization_level(GraphOptimizationLevel::Disable)
            .map_err(refused)?;
        if let Some(prepacked) = &self.prepacked {
            builder = builder.with_prepacked_weights(prepacked).map_err(refused)?;
        }
        WeightedSession::new(builder, &self.graph, &self.weights, self.external)
    }
}

/// The model with operators of this program's own where ONNX Runtime would compute a layer in f32 that is meant in integers, and once more those operators' layers.
fn with_finer_layers(model: &SessionModel, int8: Int8) -> Result<(SessionModel, Vec<PreparedInt8Conv>), RuntimeError> {
    let as_it_is = || Ok((model.clone(), Vec::new()));
    let isa = match int8 {
        Int8::Own(isa) if model.finer => isa,
        _ => return as_it_is(),
    };
    let read = || {
        let model = onnx::read(model.onnx.clone(), &ExternalData::None);
        model.map_err(|e| RuntimeError::Model(e.to_string()))
    };
    let mut graph = read()?;
    let layers = int8::lower_finer(&mut graph, isa);
    if layers.is_empty() {
        return as_it_is();
    }
    // ONNX Runtime's session keeps its operators' layers; those of the graph that it makes are its own.
    let finer = int8::lower_finer(&mut read()?, isa);
    let model = SessionModel {
        onnx: encoded(graph)?,
        layers: model.layers.clone().with_int8(layers),
        int8: model.int8,
        finer: false,
    };
    Ok((model, finer))
}

/// Whether sessions share a constant; of an int8 graph, the weights of convolutions in f32: ONNX Runtime frees the quantized values that it
/// has packed for a session only where they are the session's own.
fn is_shared(tensor: &Tensor, int8: Int8) -> bool {
    let float_weight = tensor.dtype() == DType::F32 && tensor.shape().len() == 4;
    tensor.data().len() >= SHARED_BYTES_MIN && (int8 == Int8::None || float_weight)
}

fn refused(error: ort::Error<SessionBuilder>) -> RuntimeError {
    RuntimeError::Model(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::session::ModelSession;
    use super::*;

    const SIDE: usize = 32;

    fn images(count: usize) -> Vec<Vec<f32>> {
        let pixel = |n: usize| ((n * 37 + n / 7) % 255) as f32 / 128.0 - 1.0;
        let image = |i: usize| (0..3 * SIDE * SIDE).map(|n| pixel(n + i * 11)).collect();
        (0..count).map(image).collect()
    }

    fn session_model(onnx: Vec<u8>) -> SessionModel {
        SessionModel {
            onnx: onnx.into(),
            layers: Layers::default(),
            int8: false,
            finer: false,
        }
    }

    /// A session over shared weights returns what a plain one does, to the bit.
    #[track_caller]
    fn check(file: &str, threads: usize) {
        let runtime = Runtime::load(None).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/repvgg-cifar10");
        let model = std::fs::read(folder.join(file)).unwrap();
        let options = SessionOptions {
            threads,
            ..SessionOptions::default()
        };
        let mut plain = ModelSession::from_memory(&runtime, &model, &options).unwrap();
        let shared = OptimizedModel::new(&runtime, &session_model(model), Int8::None, true).unwrap();
        for _ in 0..2 {
            let mut session = ModelSession::of(shared.session(&runtime, threads).unwrap(), &options).unwrap();
            for count in [1, 3] {
                let shape = [3, SIDE, SIDE];
                let found = session.run(&images(count), shape).unwrap();
                assert_eq!(
                    found,
                    plain.run(&images(count), shape).unwrap(),
                    "{file}, {count} images"
                );
            }
        }
    }

    #[test]
    fn sessions_over_shared_weights_compute_what_plain_ones_do() {
        check("model.onnx", 1);
        check("model.onnx", 2);
        check("model.batch1.onnx", 1);
    }

    #[test]
    fn nonsense_is_refused_as_a_model() {
        let runtime = Runtime::load(None).unwrap();
        let error = OptimizedModel::new(&runtime, &session_model(b"no model".to_vec()), Int8::None, true).unwrap_err();
        assert!(matches!(error, RuntimeError::Model(_)), "{error}");
    }
}
