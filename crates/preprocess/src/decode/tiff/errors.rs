//! What is wrong with a TIFF.

use crate::error::ImageError;
use crate::format::Format;

pub(super) fn unsupported(what: impl Into<String>) -> ImageError {
    ImageError::Unsupported {
        format: Format::Tiff,
        what: what.into(),
    }
}

pub(super) fn corrupt(part: impl Into<String>) -> ImageError {
    ImageError::Corrupt {
        format: Format::Tiff,
        part: part.into(),
    }
}
