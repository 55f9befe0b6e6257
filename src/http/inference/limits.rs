//! What an inference request may hold.

use super::error::RequestError::{self, TooLarge};
use crate::http::LimitSettings;
use repserve_compile::Signature;
use repserve_preprocess::ByteSize;

/// Extents of a shape, or arrays within arrays, at most: the rank of a tensor.
pub(in crate::http) const RANK_MAX: usize = 8;

/// What a request may hold.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct InferLimits {
    pub(in crate::http) images_max: usize,
    pub(in crate::http) image_bytes_max: usize,
}

impl InferLimits {
    pub(in crate::http) fn of(limits: &LimitSettings) -> Self {
        Self {
            images_max: limits.request_images_max,
            image_bytes_max: limits.image_bytes_max,
        }
    }

    /// Bytes that reading a request makes beside its body, at most: copies of its raw bytes, numbers, or strings without their
    /// escapes.
    pub(in crate::http) fn read_bytes_max(self, body_bytes: usize, head_bytes: usize, signature: &Signature) -> usize {
        let image = signature.image_len().saturating_mul(size_of::<f32>());
        // The shortest number is two bytes of JSON, `0,`. Room for an image is made whole.
        let numbers = (head_bytes / 2).saturating_mul(size_of::<f32>()).saturating_add(image);
        let numbers = numbers.min(image.saturating_mul(self.images_max));
        numbers.max(head_bytes).max(body_bytes.saturating_sub(head_bytes))
    }

    pub(in crate::http) fn too_many_images(self) -> RequestError {
        TooLarge(format!(
            "more than {} images in one request are not taken",
            self.images_max
        ))
    }

    /// Whether an image may have so many bytes. Images are counted from 1.
    pub(in crate::http) fn check_image(self, index: usize, bytes: usize) -> Result<(), RequestError> {
        if bytes <= self.image_bytes_max {
            return Ok(());
        }
        Err(TooLarge(format!(
            "image {} has {}; the limit is {}",
            index + 1,
            ByteSize(bytes as u64),
            ByteSize(self.image_bytes_max as u64)
        )))
    }
}
