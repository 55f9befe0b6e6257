//! A pool outside of the process: what it is made of, as bytes and a record, and back.

use std::sync::Arc;

use bytes::Bytes;
use repserve_graph::DType;
use repserve_kernels::int8::Int8Bytes;
use repserve_kernels::{
    Algorithm, Convolution, Finer, Int8Isa, Int8Sum, Isa, PreparedConv, PreparedInt8Conv, SourceLayout,
};
use serde::{Deserialize, Serialize};

use super::cores::Cores;
use super::error::RuntimeError;
use super::locate::Runtime;
use super::operators::Layers;
use super::optimized::{OptimizedModel, OptimizedRecord};
use super::plan::Plan;
use super::pool::Pool;
use super::session::Batching;
use super::session_model::SessionModel;
use super::settings::RuntimeSettings;
use super::weights::Weight;

/// What of a pool is no bytes. It holds on processors with the same instruction sets, for the same version of ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolRecord {
    output: Option<String>,
    further: Vec<String>,
    batching: Batching,
    int8: bool,
    optimized: Option<OptimizedRecord>,
    weights: Vec<WeightRecord>,
    layers: Vec<LayerRecord>,
    int8_layers: Vec<Int8LayerRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct WeightRecord {
    name: String,
    /// ONNX's number of the type.
    dtype: i32,
    shape: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LayerRecord {
    conv: Convolution,
    algorithm: Algorithm,
    layout: SourceLayout,
    isa: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Int8LayerRecord {
    conv: Convolution,
    isa: String,
    zeros: [u8; 2],
    sum: Option<Int8Sum>,
    finer: Finer,
}

/// What a pool is made of, to be kept.
#[derive(Debug)]
pub struct StoredPool<'a> {
    /// What is no bytes.
    pub record: PoolRecord,
    /// Bytes by name, in this machine's order.
    pub parts: Vec<(String, &'a [u8])>,
}

const GRAPH: &str = "graph";

/// The name of a part of one of many alike.
fn name(kind: &str, number: usize, part: &str) -> String {
    format!("{kind}/{number}/{part}")
}

impl Pool {
    /// What this pool is made of.
    pub fn stored(&self) -> StoredPool<'_> {
        let optimized = self.optimized.as_deref();
        let layers = optimized.map_or(&self.model.layers, |optimized| &optimized.layers);
        let weights = optimized.map_or(&[][..], |optimized| &optimized.weights);
        let graph = optimized.map_or(&self.model.onnx, |optimized| &optimized.graph);
        let mut parts: Vec<(String, &[u8])> = vec![(GRAPH.to_owned(), graph)];
        for (number, weight) in weights.iter().enumerate() {
            parts.push((name("weight", number, "values"), &weight.memory));
        }
        for (number, layer) in layers.f32().iter().enumerate() {
            parts.push((name("layer", number, "weights"), layer.weights()));
            parts.push((name("layer", number, "bias"), layer.bias()));
        }
        for (number, layer) in layers.int8().iter().enumerate() {
            let ready = layer.ready();
            parts.push((name("int8", number, "weights"), ready.weights));
            parts.push((name("int8", number, "bias"), ready.bias));
            parts.push((name("int8", number, "scales"), ready.scales));
            parts.push((name("int8", number, "depthwise"), ready.depthwise));
        }
        StoredPool {
            record: PoolRecord {
                output: self.output.clone(),
                further: self.further.clone(),
                batching: self.batching,
                int8: self.model.int8,
                optimized: optimized.map(OptimizedModel::record),
                weights: weights.iter().map(WeightRecord::of).collect(),
                layers: layers.f32().iter().map(|layer| LayerRecord::of(layer)).collect(),
                int8_layers: layers.int8().iter().map(Int8LayerRecord::of).collect(),
            },
            parts,
        }
    }

    /// The pool that was kept as `record`; `part` finds its bytes by name, which are read where they lie.
    ///
    /// # Errors
    /// A part that is missing or not what the record says, or an instruction set that this processor does not have.
    pub fn restored<E>(
        runtime: &Runtime,
        record: PoolRecord,
        part: impl Fn(&str) -> Result<Bytes, E>,
        settings: &RuntimeSettings,
    ) -> Result<Self, RuntimeError>
    where
        E: std::fmt::Display,
    {
        let part = |name: &str| part(name).map_err(|error| RuntimeError::Model(error.to_string()));
        let layers = restored_layers(&record, &part)?;
        let graph = part(GRAPH)?;
        let weights = record.weights.into_iter().enumerate().map(|(number, weight)| {
            let memory = part(&name("weight", number, "values"))?;
            Weight::new(weight.name, DType::from_code(weight.dtype), weight.shape, memory)
        });
        let weights = weights.collect::<Result<Vec<_>, RuntimeError>>()?;
        let mut model = SessionModel {
            onnx: Bytes::new(),
            layers: layers.clone(),
            int8: record.int8,
            finer: false,
        };
        let optimized = match record.optimized {
            Some(record) => Some(Arc::new(OptimizedModel::restored(record, graph, layers, weights))),
            None => {
                model.onnx = graph;
                None
            }
        };
        Ok(Self {
            runtime: runtime.clone(),
            model,
            output: record.output,
            further: record.further,
            batching: record.batching,
            optimized,
            plan: Plan::new(settings, Cores::detect()),
        })
    }
}

fn restored_layers(
    record: &PoolRecord,
    part: &impl Fn(&str) -> Result<Bytes, RuntimeError>,
) -> Result<Layers, RuntimeError> {
    let refused = |error: &dyn std::fmt::Display| RuntimeError::Model(error.to_string());
    let layer = |(number, layer): (usize, &LayerRecord)| {
        let isa = Isa::available().into_iter().find(|isa| isa.name() == layer.isa);
        let isa = isa.ok_or_else(|| absent(&layer.isa))?;
        let (weights, bias) = (
            part(&name("layer", number, "weights"))?,
            part(&name("layer", number, "bias"))?,
        );
        let restored = PreparedConv::restored(layer.conv, layer.algorithm, layer.layout, isa, weights, bias);
        restored.map(Arc::new).map_err(|error| refused(&error))
    };
    let int8 = |(number, layer): (usize, &Int8LayerRecord)| {
        let isa = Int8Isa::available().into_iter().find(|isa| isa.name() == layer.isa);
        let isa = isa.ok_or_else(|| absent(&layer.isa))?;
        let ready = Int8Bytes {
            weights: part(&name("int8", number, "weights"))?,
            bias: part(&name("int8", number, "bias"))?,
            scales: part(&name("int8", number, "scales"))?,
            depthwise: part(&name("int8", number, "depthwise"))?,
        };
        let restored = PreparedInt8Conv::restored(layer.conv, isa, layer.zeros, layer.finer, ready);
        let restored = restored.map(|restored| restored.with_sum(layer.sum));
        restored.map_err(|error| refused(&error))
    };
    let layers = record.layers.iter().enumerate().map(layer);
    let int8_layers = record.int8_layers.iter().enumerate().map(int8);
    Ok(Layers::blocked(layers.collect::<Result<_, _>>()?).with_int8(int8_layers.collect::<Result<_, _>>()?))
}

fn absent(isa: &str) -> RuntimeError {
    RuntimeError::Unsupported(format!("its kernels use {isa}, which this processor does not have"))
}

impl WeightRecord {
    fn of(weight: &Weight) -> Self {
        Self {
            name: weight.name.clone(),
            dtype: weight.dtype.code(),
            shape: weight.shape.clone(),
        }
    }
}

impl LayerRecord {
    fn of(layer: &PreparedConv) -> Self {
        Self {
            conv: *layer.convolution(),
            algorithm: layer.algorithm(),
            layout: layer.layout(),
            isa: layer.isa().name().to_owned(),
        }
    }
}

impl Int8LayerRecord {
    fn of(layer: &PreparedInt8Conv) -> Self {
        Self {
            conv: *layer.convolution(),
            isa: layer.isa().name().to_owned(),
            zeros: layer.zeros(),
            sum: layer.sum(),
            finer: layer.finer_parts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use repserve_graph::onnx::{self, ExternalData};
    use repserve_scheduler::Width;

    use super::super::lowering::lower;
    use super::super::settings::KernelMode;
    use super::*;

    const MODEL: &[u8] = include_bytes!("../../../models/repvgg-cifar10/model.bn_folded.onnx");
    const SHAPE: [usize; 3] = [3, 32, 32];

    fn image() -> Vec<f32> {
        (0..SHAPE.iter().product())
            .map(|n: usize| (n % 19) as f32 / 9.0 - 1.0)
            .collect()
    }

    /// A pool of the default model, as these settings make it.
    fn pool(settings: &RuntimeSettings) -> Pool {
        let runtime = Runtime::load(None).unwrap();
        let onnx = Bytes::from_static(MODEL);
        let model = onnx::read(onnx.clone(), &ExternalData::None).unwrap();
        let plain = SessionModel::new(&model, onnx);
        let lowered = lower(&runtime, &model, &plain, settings.kernels, SHAPE, None).unwrap();
        Pool::new(&runtime, lowered.model, None, settings).unwrap()
    }

    /// What it returns after it has been stored and restored is what it returned before, to the bit.
    #[track_caller]
    fn check(kernels: KernelMode, share_weights: bool) {
        let settings = RuntimeSettings {
            kernels,
            share_weights,
            ..RuntimeSettings::default()
        };
        let pool = pool(&settings);
        let stored = pool.stored();
        let json = serde_json::to_string(&stored.record).unwrap();
        let parts: BTreeMap<String, Bytes> = stored
            .parts
            .into_iter()
            .map(|(name, bytes)| (name, Bytes::copy_from_slice(bytes)))
            .collect();
        let record: PoolRecord = serde_json::from_str(&json).unwrap();
        let part = |name: &str| parts.get(name).cloned().ok_or("there is no such part");
        let runtime = Runtime::load(None).unwrap();
        let restored = Pool::restored(&runtime, record.clone(), part, &settings).unwrap();
        assert_eq!(restored.shares_weights(), pool.shares_weights());
        assert_eq!(restored.operators(), pool.operators());
        for width in [Width::Narrow, Width::Wide] {
            let run = |pool: &Pool| pool.session(width).unwrap().run(&[image()], SHAPE).unwrap();
            assert_eq!(run(&restored), run(&pool));
        }
        let nothing = |_: &str| Err::<Bytes, _>("there is no such part");
        assert!(Pool::restored(&runtime, record, nothing, &settings).is_err());
    }

    #[test]
    fn a_pool_that_was_stored_computes_what_it_did() {
        check(KernelMode::On, true);
        check(KernelMode::Off, true);
        check(KernelMode::On, false);
    }

    #[test]
    fn weights_of_another_length_are_refused() {
        let pool = pool(&RuntimeSettings {
            kernels: KernelMode::On,
            ..RuntimeSettings::default()
        });
        let stored = pool.stored();
        let part = |name: &str| {
            let (_, bytes) = stored.parts.iter().find(|(known, _)| known == name).unwrap();
            let cut = if name == "layer/1/weights" { 64 } else { 0 };
            Ok::<_, String>(Bytes::copy_from_slice(&bytes[cut..]))
        };
        let runtime = Runtime::load(None).unwrap();
        let error = Pool::restored(&runtime, stored.record.clone(), part, &RuntimeSettings::default()).unwrap_err();
        assert!(error.to_string().contains("weights holds"), "{error}");
    }
}
