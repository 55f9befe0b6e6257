//! What a prepared layer is made of, and one call of it: what the convolution's entry points share with its two algorithms.

use bytes::Bytes;

use super::geometry::{Algorithm, Convolution, KernelError, SourceLayout, check_length};
use super::layout::Extent;
use super::vector::{Isa, Plain, SharedOutput, Values};

/// Output channels that are computed together: one to three vectors of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// First block of output channels.
    pub(super) block: usize,
    /// Blocks of output channels, 1 to 3.
    pub(super) vectors: usize,
    /// First input channel of the panel's group.
    pub(super) channel: usize,
    /// Where the panel's weights start.
    pub(super) weights: usize,
}

/// A layer whose weights are in the order in which its algorithm reads them.
pub(super) struct Layer {
    pub(super) conv: Convolution,
    pub(super) algorithm: Algorithm,
    pub(super) layout: SourceLayout,
    pub(super) isa: Isa,
    pub(super) panels: Vec<Panel>,
    pub(super) weights: Values<f32>,
    /// One value a padded output channel.
    pub(super) bias: Values<f32>,
}

impl Layer {
    /// Bytes that the prepared weights and bias hold.
    pub(super) fn bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
    }
}

/// The `needed` numbers that these bytes are.
///
/// # Errors
/// Where they are not so many, or not aligned.
pub(super) fn restored<T: Plain>(what: &'static str, memory: Bytes, needed: usize) -> Result<Values<T>, KernelError> {
    let values = Values::shared(memory).ok_or(KernelError::Unaligned(what))?;
    check_length(what, values.len(), needed)?;
    Ok(values)
}

/// One call of a layer: slices whose lengths have been checked against the geometry.
pub(super) struct Call<'a> {
    pub(super) layer: &'a Layer,
    pub(super) input: &'a [f32],
    pub(super) residual: Option<&'a [f32]>,
    pub(super) output: SharedOutput<'a>,
    pub(super) extent: Extent,
    /// Rows and columns of the output.
    pub(super) out_size: (usize, usize),
}
