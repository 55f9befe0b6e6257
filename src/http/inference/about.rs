//! How a model is described, whatever it is described in.

use crate::classify::Served;
use crate::http::settings::LimitSettings;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Configuration {
    /// What runs it.
    pub(in crate::http) backend: &'static str,
    /// Images that one request may have. Batches are made of the images of all requests, of the sizes that were measured at the start.
    pub(in crate::http) max_batch_size: i32,
    /// Channels, height and width.
    pub(in crate::http) input_dims: [i64; 3],
    /// Values for one image.
    pub(in crate::http) output_dims: [i64; 1],
}

impl Configuration {
    pub(in crate::http) fn of(served: &Served, limits: &LimitSettings) -> Self {
        let signature = served.signature();
        let extent = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            backend: "onnxruntime",
            max_batch_size: i32::try_from(limits.request_images_max).unwrap_or(i32::MAX),
            input_dims: signature.image.map(extent),
            output_dims: [extent(signature.classes)],
        }
    }
}
