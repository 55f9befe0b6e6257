//! The parsers of bodies, for those who test them without a server: `fuzz/`.

use bytes::Bytes;

use super::settings::LimitSettings;
use super::{form, grpc, trace, v2};
use repserve_compile::Signature;

/// What came of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// How many there are.
    pub count: usize,
    /// Bytes that they hold in memory.
    pub bytes: usize,
}

/// Reads an inference request of the Open Inference Protocol; `head_len` is the length of its JSON where raw bytes follow it.
///
/// # Errors
/// The detail that its sender gets.
pub fn infer_request(
    body: Bytes,
    head_len: Option<usize>,
    signature: &Signature,
    limits: &LimitSettings,
) -> Result<Images, String> {
    let (count, bytes) = v2::images(body, head_len, signature, limits)?;
    Ok(Images { count, bytes })
}

/// Reads an inference request of the Open Inference Protocol over gRPC, without its frame.
///
/// # Errors
/// The message that its sender gets.
pub fn grpc_request(message: Bytes, signature: &Signature, limits: &LimitSettings) -> Result<Images, String> {
    let (count, bytes) = grpc::images(message, signature, limits)?;
    Ok(Images { count, bytes })
}

/// Reads a form of images.
///
/// # Errors
/// The detail that its sender gets.
pub fn form(body: Bytes, boundary: &str, limits: &LimitSettings) -> Result<Images, String> {
    let images = form::images(body, boundary.to_owned(), limits).map_err(|problem| problem.detail().to_owned())?;
    Ok(Images {
        count: images.len(),
        bytes: images.iter().map(|image| image.bytes.len()).sum(),
    })
}

/// Reads the header `baggage`: its keys and values.
pub fn baggage(header: &[u8]) -> Vec<(String, String)> {
    trace::baggage::parse(header)
}
