//! Why an image was refused.

use super::format::Format;
use super::limits::ByteSize;

/// Why an image could not become a model's input. Each is the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file is larger than [`super::Limits::bytes_max`].
    #[error("the image has {}; the limit is {}", ByteSize(*bytes as u64), ByteSize(*bytes_max as u64))]
    TooManyBytes {
        /// The file's size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The header announces more pixels than [`super::Limits::pixels_max`], or a side beyond 65,535.
    #[error("the image is {width}x{height} pixels; the limit is {pixels_max} pixels, and 65535 a side")]
    TooManyPixels {
        /// Pixels in a row, as the header says.
        width: u32,
        /// Rows, as the header says.
        height: u32,
        /// The limit.
        pixels_max: u64,
    },
    /// Decoding it takes more memory than all decoding together may hold.
    #[error(
        "decoding the {format} image of {width}x{height} pixels takes {}; the limit is {} (limits.decode_bytes_max)",
        ByteSize(*bytes), ByteSize(*bytes_max)
    )]
    TooMuchMemory {
        /// The file's format.
        format: Format,
        /// Pixels in a row, as the header says.
        width: u32,
        /// Rows, as the header says.
        height: u32,
        /// What decoding holds at its peak, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// The first bytes are those of a format that is known and not read here.
    #[error("{name}, which is not read here: convert it to one of {formats}", formats = Format::LIST)]
    OtherFormat {
        /// The format, with its article.
        name: &'static str,
    },
    /// There are no bytes.
    #[error("the file is empty; send the bytes of an image")]
    Empty,
    /// The first bytes are those of no format that is known.
    #[error("not an image that can be read ({formats}); it starts with {head}", formats = Format::LIST)]
    UnknownFormat {
        /// The first bytes in hexadecimal.
        head: String,
    },
    /// A known format, but a variant of it that is not read.
    #[error("a {format} image of a kind that cannot be read: {what}")]
    Unsupported {
        /// The file's format.
        format: Format,
        /// The variant.
        what: String,
    },
    /// A known format whose content is broken.
    #[error("a broken {format} image: {part}")]
    Corrupt {
        /// The file's format.
        format: Format,
        /// What is wrong, and in which part of the file.
        part: String,
    },
}

impl ImageError {
    /// The error's kind as a word for programs, stable over versions: `too_large`, `unsupported_type` or `invalid_image`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } | Self::TooMuchMemory { .. } => "too_large",
            Self::Empty | Self::OtherFormat { .. } | Self::UnknownFormat { .. } | Self::Unsupported { .. } => {
                "unsupported_type"
            }
            Self::Corrupt { .. } => "invalid_image",
        }
    }
}
