//! What goes over the wire as JSON: the serialized types of `/classify`, the probes and errors.

use serde::Serialize;
use utoipa::ToSchema;

/// An error's body.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) detail: &'a str,
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

/// A probe's body.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    pub(super) status: &'static str,
}

/// The body of `POST /classify`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Classified<'a> {
    pub(super) model: &'a str,
    pub(super) version: &'a str,
    pub(super) predictions: Vec<Prediction<'a>>,
}

/// One image's classes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Prediction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) classes: Vec<Class<'a>>,
    /// The inner value that was requested, row-major; only with `?embedding=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) embedding: Option<&'a [f32]>,
    /// Why there are none; only with `?partial=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<PredictionError>,
}

/// Why one image of several has no classes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictionError {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// One class of a prediction, best first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Class<'a> {
    pub(super) index: usize,
    pub(super) label: &'a str,
    pub(super) probability: f32,
}

/// Bytes that are no JSON: an encoded image, or tensors behind their description.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Octets(#[allow(dead_code)] Vec<u8>);

/// An image as text.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
pub(super) struct ImageAsText {
    /// Base64, or a data URL of it (`data:image/png;base64,...`).
    image: String,
}

/// A form of images; every file is one, whatever its field is called.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
pub(super) struct Form {
    image: Octets,
}
