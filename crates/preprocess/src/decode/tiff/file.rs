//! The reader of a TIFF, and what its errors are here.

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::decoder::Decoder;
use ::tiff::{TiffError, TiffUnsupportedError};

use crate::error::ImageError;
use crate::format::Format;

/// A file that is read; one with a palette is a changed copy.
pub(super) type File<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

pub(super) fn refuse(error: TiffError) -> ImageError {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::UnknownInterpretation) => unsupported("its pixels' meaning"),
        TiffError::UnsupportedError(what) => unsupported(&what.to_string()),
        TiffError::LimitsExceeded => corrupt("decoding it takes more memory than its pixels justify"),
        other => corrupt(&other.to_string()),
    }
}

pub(super) fn unsupported(what: &str) -> ImageError {
    ImageError::Unsupported {
        format: Format::Tiff,
        what: what.into(),
    }
}

pub(super) fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Tiff,
        part: part.into(),
    }
}
