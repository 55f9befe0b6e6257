//! From the bytes of an image file to a model's input tensor: decode, orient, resize, crop, normalise.
//!
//! The result is torchvision's (Pillow's resampling, a centre crop, a per-channel normalisation), see
//! `docs/decoding.md`. Nothing here knows HTTP or ONNX Runtime, and nothing here panics on a hostile file.

mod colour;
mod decode;
mod error;
mod format;
mod geometry;
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
pub use limits::Limits;
pub use pixels::Rgb8;
pub use preprocess::{Decoded, Preprocess};
pub use spec::{InputSpec, Interpolation, SpecError};
