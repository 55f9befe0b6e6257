//! An inference request that can be run.

use bytes::Bytes;

use super::error::RequestError::{self, Malformed};
use super::input::Images;
use crate::http::echo::echo;
use repserve_compile::Signature;
use repserve_runtime::Row;
use repserve_scheduler::{Payload, Priority};

/// An output of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) enum OutputSource {
    /// The one that holds the classes.
    #[default]
    Classes,
    /// An inner value: its place among the signature's embeddings.
    Embedding(usize),
}

/// How an output is to be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) struct OutputOptions {
    /// Which it is.
    pub(in crate::http) source: OutputSource,
    /// As raw bytes.
    pub(in crate::http) raw: bool,
    /// Its best classes instead of its values; how many.
    pub(in crate::http) classification: Option<usize>,
}

/// A request that can be run.
#[derive(Debug)]
pub(in crate::http) struct InferRequest {
    /// Repeated in the response.
    pub(in crate::http) id: Option<String>,
    /// The images, encoded or as tensors.
    pub(in crate::http) work: Images,
    /// The outputs, in the order requested.
    pub(in crate::http) outputs: Vec<OutputOptions>,
    /// The longest that it may take, in microseconds.
    pub(in crate::http) timeout_us: Option<u64>,
    /// How urgent it is beside others of its client.
    pub(in crate::http) priority: Priority,
    /// Bytes that its images hold in memory.
    pub(in crate::http) bytes: usize,
}

impl InferRequest {
    /// The values of each requested output for one image.
    pub(in crate::http) fn values<'r>(&self, row: &'r Row) -> impl Iterator<Item = &'r [f32]> {
        self.outputs.iter().map(|output| output.source.values(row))
    }

    /// Bytes that images hold. `kept` is what encoded images are parts of, and keep whole: the message that holds them; 0 where each is a copy.
    pub(in crate::http) fn held_bytes(work: &[Payload<Bytes, Vec<f32>>], kept: usize) -> usize {
        let bytes = work.iter().map(|image| match image {
            Payload::Ready(values) => size_of_val(&values[..]),
            Payload::Raw(_) if kept > 0 => 0,
            Payload::Raw(encoded) => encoded.len(),
        });
        bytes.sum::<usize>() + kept
    }
}

impl OutputSource {
    /// Its values for one image, row-major.
    pub(in crate::http) fn values(self, row: &Row) -> &[f32] {
        match self {
            Self::Classes => &row.values,
            Self::Embedding(at) => row.further.get(at).map_or(&[], Vec::as_slice),
        }
    }

    /// The model's output of this name.
    pub(in crate::http) fn called(name: Option<&str>, signature: &Signature) -> Result<Self, RequestError> {
        let name = name.ok_or_else(|| Malformed("the output has no name".to_owned()))?;
        if name == signature.output {
            return Ok(Self::Classes);
        }
        signature.embedding(name).map(Self::Embedding).ok_or_else(|| {
            let further = signature
                .embeddings
                .iter()
                .map(|embedding| format!(" or {:?}", embedding.name));
            Malformed(format!(
                "there is no output {:?}; the model's is {:?}{}",
                echo(name),
                signature.output,
                further.collect::<String>()
            ))
        })
    }
}

/// Outputs that a model has.
pub(in crate::http) fn outputs_max(signature: &Signature) -> usize {
    1 + signature.embeddings.len()
}

/// Whether a request has no more outputs than the model, each once.
///
/// # Errors
/// Where it has; and where it wants the best classes of what holds none.
pub(in crate::http) fn check_outputs(outputs: &[OutputOptions], signature: &Signature) -> Result<(), RequestError> {
    let most = outputs_max(signature);
    if outputs.len() > most {
        return Err(too_many_outputs(most, &outputs.len().to_string()));
    }
    for (at, output) in outputs.iter().enumerate() {
        if outputs[..at].iter().any(|before| before.source == output.source) {
            return Err(Malformed("the request has an output twice".to_owned()));
        }
        if output.classification.is_some() && output.source != OutputSource::Classes {
            return Err(Malformed(
                "`classification` is for the output of classes only".to_owned(),
            ));
        }
    }
    Ok(())
}

/// The model has fewer outputs than a request.
pub(in crate::http) fn too_many_outputs(most: usize, count: &str) -> RequestError {
    let model = match most {
        1 => "one output".to_owned(),
        most => format!("{most} outputs"),
    };
    Malformed(format!("the model has {model}, the request {count}"))
}

/// The priority for a number, as Triton reads it: 1 is the most urgent; 0 and what is beyond the last level are the default.
pub(in crate::http) fn priority(level: Option<u64>) -> Priority {
    let level = level
        .and_then(|level| u8::try_from(level).ok())
        .filter(|level| *level > 0);
    level.map_or_else(Priority::default, Priority)
}
