//! An inference request that can be run.

use bytes::Bytes;

use super::error::RequestError::{self, Malformed};
use super::input::Images;
use crate::http::echo::echo;
use repserve_compile::Signature;
use repserve_scheduler::{Payload, Priority};

/// How an output is to be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) struct OutputOptions {
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

/// Whether a requested output is the model's.
pub(in crate::http) fn check_output(name: Option<&str>, signature: &Signature) -> Result<(), RequestError> {
    let name = name.ok_or_else(|| Malformed("the output has no name".to_owned()))?;
    if name == signature.output {
        return Ok(());
    }
    Err(Malformed(format!(
        "there is no output {:?}; the model's is {:?}",
        echo(name),
        signature.output
    )))
}

/// The priority for a number, as Triton reads it: 1 is the most urgent; 0 and what is beyond the last level are the default.
pub(in crate::http) fn priority(level: Option<u64>) -> Priority {
    let level = level
        .and_then(|level| u8::try_from(level).ok())
        .filter(|level| *level > 0);
    level.map_or_else(Priority::default, Priority)
}
