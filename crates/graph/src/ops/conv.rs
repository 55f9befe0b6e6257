//! Convolutions: of real numbers, and of quantized values.

use super::error::OperatorError;
use super::view::NodeView;
use super::window::Window;
use crate::node::Node;
use crate::value::ValueId;

/// ONNX Runtime's domain: its `QLinearConv` reads NHWC where the attribute says so.
pub const MICROSOFT_DOMAIN: &str = "com.microsoft";

/// A convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// What it reads.
    pub input: ValueId,
    /// Weights `[out, in / groups, kernel…]`.
    pub weight: ValueId,
    /// One number an output channel.
    pub bias: Option<ValueId>,
    /// Number of groups; divides both numbers of channels.
    pub groups: usize,
    /// Channels it reads.
    pub in_channels: usize,
    /// Channels it makes.
    pub out_channels: usize,
    /// The window.
    pub window: Window,
}

/// A convolution of quantized values (`QLinearConv`). Scales and zero points are inputs of the node, numbered as
/// [`QuantizedInputs`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QLinearConv {
    /// What it computes; input and weights are quantized, the bias counts in steps of their scales' product.
    pub conv: Conv,
    /// Whether images lie as (rows, columns, channels).
    pub channels_last: bool,
}

/// Positions of the inputs of an operator of quantized values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizedInputs {
    /// Scale of what it reads.
    pub input_scale: usize,
    /// Zero point of what it reads.
    pub input_zero: usize,
    /// The weights.
    pub weight: usize,
    /// Scales of the weights: one, or one an output channel.
    pub weight_scale: usize,
    /// Zero points of the weights.
    pub weight_zero: usize,
    /// Scale of what it makes.
    pub output_scale: usize,
    /// Zero point of what it makes.
    pub output_zero: usize,
    /// The bias.
    pub bias: usize,
}

impl Conv {
    /// The convolution that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes, weights of unknown shape, or an input of another rank than the weights'. A `SAME` padding of an image of
    /// unknown size is no error: see [`Window::auto`].
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Conv") {
            return Ok(None);
        }
        Self::read(view, 1, 2, false).map(Some)
    }

    fn read(view: &NodeView<'_>, weight: usize, bias: usize, channels_last: bool) -> Result<Self, OperatorError> {
        let shape = view.fixed_extents(weight, "the weights")?;
        let [out_channels, depth, kernel @ ..] = &shape[..] else {
            return Err(OperatorError::Shape("the weights"));
        };
        let rank = kernel.len();
        if rank == 0 || *depth == 0 || *out_channels == 0 {
            return Err(OperatorError::Shape("the weights"));
        }
        let stated = view.ints("kernel_shape")?.filter(|stated| !stated.is_empty());
        let agrees = |stated: &[i64]| {
            stated
                .iter()
                .map(|k| usize::try_from(*k))
                .eq(kernel.iter().map(|k| Ok(*k)))
        };
        if !stated.is_none_or(agrees) {
            return Err(OperatorError::Attribute {
                name: "kernel_shape",
                expected: "the kernel's shape",
            });
        }
        let groups = usize::try_from(view.int("group", 1)?).ok();
        let groups = groups
            .filter(|g| *g > 0 && out_channels % g == 0)
            .ok_or(OperatorError::Attribute {
                name: "group",
                expected: "a divisor of the number of output channels",
            })?;
        let in_channels = depth.checked_mul(groups).ok_or(OperatorError::Shape("the weights"))?;
        let extents = view.extents_of(0);
        let spatial = match &extents {
            None => None,
            Some(extents) => {
                if extents.len() != rank + 2 {
                    return Err(OperatorError::Shape("the input"));
                }
                let first = if channels_last { 1 } else { 2 };
                extents.get(first..first + rank)
            }
        };
        Ok(Self {
            input: view.value(0)?,
            weight: view.value(weight)?,
            bias: view.node.input(bias),
            groups,
            in_channels,
            out_channels: *out_channels,
            window: Window::of(view, kernel.to_vec(), spatial)?,
        })
    }
}

impl QLinearConv {
    /// Positions of its inputs.
    pub const INPUTS: QuantizedInputs = QuantizedInputs {
        input_scale: 1,
        input_zero: 2,
        weight: 3,
        weight_scale: 4,
        weight_zero: 5,
        output_scale: 6,
        output_zero: 7,
        bias: 8,
    };

    /// Whether the node is one, of ONNX's operator set or ONNX Runtime's.
    pub fn is(node: &Node) -> bool {
        node.is("QLinearConv") || node.domain == MICROSOFT_DOMAIN && node.op == "QLinearConv"
    }

    /// The convolution of quantized values that the node is, of ONNX's operator set or ONNX Runtime's; `None` for another operator.
    ///
    /// # Errors
    /// As [`Conv::of`].
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !Self::is(view.node) {
            return Ok(None);
        }
        let channels_last = view.node.domain == MICROSOFT_DOMAIN && view.flag("channels_last")?;
        let conv = Conv::read(view, Self::INPUTS.weight, Self::INPUTS.bias, channels_last)?;
        Ok(Some(Self { conv, channels_last }))
    }
}
