//! Transposed convolutions.

use super::error::OperatorError;
use super::view::{EXTENT_MAX, NodeView};
use crate::value::ValueId;

/// A transposed convolution: every element of the input, times the kernel, is added into the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTranspose {
    /// What it reads.
    pub input: ValueId,
    /// Weights `[in, out / groups, kernel…]`.
    pub weight: ValueId,
    /// One number an output channel.
    pub bias: Option<ValueId>,
    /// Number of groups; divides both numbers of channels.
    pub groups: usize,
    /// Channels it reads.
    pub in_channels: usize,
    /// Channels it makes.
    pub out_channels: usize,
    /// Taps, an entry an axis.
    pub kernel: Vec<usize>,
    axes: Vec<Axis>,
}

/// How the output's extent along an axis follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// It is stated.
    Stated(usize),
    /// It is the input's, times this.
    Times(usize),
    /// It is `stride · (n - 1) + more - less` for an input's of `n`.
    Derived { stride: usize, more: usize, less: usize },
}

impl ConvTranspose {
    /// The transposed convolution that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes, weights of unknown shape, or an input of another rank than the weights'.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("ConvTranspose") {
            return Ok(None);
        }
        let shape = view.fixed_extents(1, "the weights")?;
        let [in_channels, depth, kernel @ ..] = &shape[..] else {
            return Err(OperatorError::Shape("the weights"));
        };
        let odd = |extent: &usize| *extent == 0 || *extent as i64 > EXTENT_MAX;
        if shape.iter().any(odd) || kernel.is_empty() || view.rank_of(0).is_some_and(|rank| rank != shape.len()) {
            return Err(OperatorError::Shape("the weights"));
        }
        let groups = usize::try_from(view.int("group", 1)?).ok();
        let groups = groups
            .filter(|g| *g > 0 && in_channels % g == 0)
            .ok_or(OperatorError::Attribute {
                name: "group",
                expected: "a divisor of the number of input channels",
            })?;
        Ok(Some(Self {
            input: view.value(0)?,
            weight: view.value(1)?,
            bias: view.node.input(2),
            groups,
            in_channels: *in_channels,
            out_channels: depth * groups,
            kernel: kernel.to_vec(),
            axes: axes(view, kernel)?,
        }))
    }

    /// The output's extent along `axis` for an input's; `None` where there is none.
    pub fn places(&self, axis: usize, extent: usize) -> Option<usize> {
        match *self.axes.get(axis)? {
            Axis::Stated(places) => Some(places),
            Axis::Times(stride) => extent.checked_mul(stride),
            Axis::Derived { stride, more, less } => stride
                .checked_mul(extent.checked_sub(1)?)?
                .checked_add(more)?
                .checked_sub(less),
        }
    }
}

fn axes(view: &NodeView<'_>, kernel: &[usize]) -> Result<Vec<Axis>, OperatorError> {
    let rank = kernel.len();
    let stated = view.extents("output_shape", rank, 0, 0)?;
    let strides = view.extents("strides", rank, 1, 1)?;
    let dilations = view.extents("dilations", rank, 1, 1)?;
    let extra = view.extents("output_padding", rank, 0, 0)?;
    let mut pads = view.extents("pads", 2 * rank, 0, 0)?;
    let same = match view.string("auto_pad", "NOTSET")? {
        "NOTSET" | "" => false,
        "VALID" => {
            pads.fill(0);
            false
        }
        "SAME_UPPER" | "SAME_LOWER" => true,
        _ => {
            return Err(OperatorError::Attribute {
                name: "auto_pad",
                expected: "NOTSET, VALID, SAME_UPPER or SAME_LOWER",
            });
        }
    };
    let axis = |i: usize| match stated[i] {
        0 if same => Axis::Times(strides[i]),
        0 => Axis::Derived {
            stride: strides[i],
            more: dilations[i] * (kernel[i] - 1) + 1 + extra[i],
            less: pads[i] + pads[rank + i],
        },
        places => Axis::Stated(places),
    };
    Ok((0..rank).map(axis).collect())
}
