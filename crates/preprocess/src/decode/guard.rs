//! The last line of defence against a decoder that gives up.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::ImageError;
use crate::format::Format;

/// Runs a decoder on untrusted bytes. Where it panics on them, that is an error of the file, and the caller goes on.
pub(super) fn guarded<T>(format: Format, decode: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        tracing::debug!(%format, "a decoder panicked on an image; it is refused");
        Err(ImageError::Corrupt {
            format,
            part: "the decoder gave up on it".into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let refused = guarded::<()>(Format::Bmp, || panic!("index out of bounds"));
        assert!(matches!(
            refused,
            Err(ImageError::Corrupt {
                format: Format::Bmp,
                ..
            })
        ));
    }
}
