//! ONNX files: bytes in, [`Model`] out, and back. Nothing else knows protobuf.
//!
//! The wire format is read ([`wire`]) and written ([`rope`]) by hand rather than through generated messages, for three
//! reasons. A field that this version of ONNX does not have yet, or that the IR does not model, is carried along byte for
//! byte. Tensors share the file's buffer instead of being copied out of it. Nothing is allocated, and no recursion is
//! entered, on the word of a length that the file cannot back.
//!
//! [`read()`] checks everything that [`graph::verify`](crate::verify) demands, so a model that was read is a
//! valid graph. [`write()`] takes the model apart while it encodes it.

mod attribute;
mod beside;
mod count;
mod error;
mod external;
mod foreign;
mod node;
mod place;
mod read;
mod rope;
mod scope;
mod sort;
mod tensor;
mod value_info;
mod wire;
mod write;

pub use count::{Counts, counts};
pub use error::OnnxError;
pub use external::ExternalData;
pub use read::{external_files, read};
pub use wire::WireError;
pub use write::{pieces, write, write_beside, write_to};

#[cfg(doc)]
use crate::Model;

#[cfg(test)]
mod tests;
