//! From the bytes of an image file to a model's input tensor: decode, orient, resize, crop, normalise.
//!
//! The result is torchvision's: Pillow's resampling, a centre crop, a normalisation of each channel. Nothing here knows HTTP or ONNX
//! Runtime, and nothing here panics on a hostile file.
//!
//! ```
//! use std::io::Cursor;
//!
//! use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Limits, Preprocess};
//!
//! let mut file = Cursor::new(Vec::new());
//! image::RgbImage::from_pixel(64, 48, image::Rgb([255, 0, 127])).write_to(&mut file, image::ImageFormat::Png)?;
//!
//! let preprocess = Preprocess::try_from(InputSpec {
//!     size: [32, 32],
//!     resize: Some(36),
//!     interpolation: Interpolation::Bilinear,
//!     scale: 255.0,
//!     mean: [0.5; 3],
//!     std: [0.5; 3],
//! })?;
//! let decoded = preprocess.apply(file.get_ref(), &Limits::default(), JpegDecode::default())?;
//! assert_eq!(decoded.tensor.len(), 3 * 32 * 32);
//! // Red comes first: (255 / 255 - 0.5) / 0.5.
//! assert_eq!(decoded.tensor[0], 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod colour;
mod decode;
mod error;
mod foreign;
mod format;
mod geometry;
mod ifd;
mod inspect;
mod limits;
mod orientation;
mod picture;
mod pixels;
mod preprocess;
mod resample;
mod rows;
mod sniff;
mod spec;

pub use decode::{JpegDecode, decode_rgb, decoder};
pub use error::ImageError;
pub use format::Format;
pub use inspect::Inspected;
pub use limits::{ByteSize, Limits};
pub use pixels::Rgb8;
pub use preprocess::{Decoded, Preprocess};
pub use spec::{BYTE_MAX, InputSpec, Interpolation, SpecError, SpecWarning};
