//! What the sessions of a model are made of.

use bytes::Bytes;

use super::error::RuntimeError;
use super::int8::{computes_in_int8, has_quantized_weights};
use super::operators::Layers;
use repserve_graph::{Model, onnx};

/// An encoded model with its weights inside, and the layers that its operators run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionModel {
    /// The ONNX file.
    pub onnx: Bytes,
    /// Layers that this program's kernels compute; none for a model of ONNX's own operators.
    pub layers: Layers,
    /// Whether some of its convolutions compute in int8.
    pub int8: bool,
    /// Whether convolutions of it read what `DequantizeLinear` makes of integers, so that kernels may compute them in integers.
    pub(crate) finer: bool,
}

impl SessionModel {
    /// A model of ONNX's own operators; `onnx` is `model`, encoded.
    pub fn new(model: &Model, onnx: Bytes) -> Self {
        Self {
            onnx,
            layers: Layers::default(),
            int8: computes_in_int8(model),
            finer: false,
        }
    }

    /// A model that ONNX Runtime runs as it runs any other, also where it computes in int8.
    pub fn as_given(onnx: Bytes) -> Self {
        Self {
            onnx,
            layers: Layers::default(),
            int8: false,
            finer: false,
        }
    }

    /// Encodes a model of ONNX's own operators. Convolutions that read what `DequantizeLinear` makes of quantized weights are meant in int8.
    ///
    /// # Errors
    /// The model is too large for an ONNX file.
    pub fn encode(model: Model) -> Result<Self, RuntimeError> {
        let finer = has_quantized_weights(&model);
        let encoded = Self::with_layers(model, Layers::default())?;
        Ok(Self {
            int8: encoded.int8 || finer,
            finer,
            ..encoded
        })
    }

    /// Encodes a model whose operators run `layers`.
    pub(crate) fn with_layers(model: Model, layers: Layers) -> Result<Self, RuntimeError> {
        let int8 = computes_in_int8(&model);
        Ok(Self {
            onnx: encoded(model)?,
            layers,
            int8,
            finer: false,
        })
    }
}

/// The model as an ONNX file.
pub(crate) fn encoded(model: Model) -> Result<Bytes, RuntimeError> {
    let bytes = onnx::write(model).map_err(|e| RuntimeError::Model(e.to_string()))?;
    Ok(bytes.into())
}
