//! How a model is described, whatever it is described in.

use crate::classify::Served;
use crate::http::settings::LimitSettings;
use repserve_compile::Signature;

/// The protocol's extensions that are served.
pub(in crate::http) const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
];

/// What a model is and what runs it.
pub(in crate::http) const PLATFORM: &str = "onnxruntime_onnx";

/// How a model is served, in the terms of Triton's model configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Configuration<'a> {
    /// What runs it.
    pub(in crate::http) backend: &'static str,
    /// Images that one request may have. Batches are made of the images of all requests, of the sizes that were measured at the start.
    pub(in crate::http) max_batch_size: i32,
    /// Channels, height and width.
    pub(in crate::http) input_dims: [i64; 3],
    /// The outputs.
    pub(in crate::http) outputs: Vec<OutputDims<'a>>,
}

/// An output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct OutputDims<'a> {
    pub(in crate::http) name: &'a str,
    /// Its extents for one image.
    pub(in crate::http) dims: Vec<i64>,
}

impl OutputDims<'_> {
    /// Its extents for a batch of any size.
    pub(in crate::http) fn of_batch(&self) -> Vec<i64> {
        [&[-1], &self.dims[..]].concat()
    }
}

/// The outputs that a model returns: the classes, and inner values for those who request them.
pub(in crate::http) fn outputs(signature: &Signature) -> Vec<OutputDims<'_>> {
    let classes = OutputDims {
        name: &signature.output,
        dims: vec![extent(signature.classes)],
    };
    let embeddings = signature.embeddings.iter().map(|embedding| OutputDims {
        name: &embedding.name,
        dims: embedding.shape.iter().copied().map(extent).collect(),
    });
    std::iter::once(classes).chain(embeddings).collect()
}

fn extent(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl<'a> Configuration<'a> {
    pub(in crate::http) fn of(served: &'a Served, limits: &LimitSettings) -> Self {
        let signature = served.signature();
        Self {
            backend: "onnxruntime",
            max_batch_size: i32::try_from(limits.request_images_max).unwrap_or(i32::MAX),
            input_dims: signature.image.map(extent),
            outputs: outputs(signature),
        }
    }
}
