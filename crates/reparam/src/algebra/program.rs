//! Straight-line programs of linear maps.

use repserve_graph::Tensor;
use repserve_graph::ops::Window;

/// A straight-line program of linear maps of one source.
#[derive(Debug, Clone)]
pub(crate) struct Program<'a> {
    /// Number of spatial axes; 0 for matrices.
    pub(crate) rank: usize,
    /// Channels of the source.
    pub(crate) channels: usize,
    /// Spatial extents of the source, where all are known.
    pub(crate) extents: Option<Vec<usize>>,
    /// Relative rounding error that the constants may have, where a border is compared with what a map makes of zeros.
    pub(crate) rounding: f64,
    /// The maps in order; operation `i` makes value `i + 1`. The last value is the result.
    pub(crate) ops: Vec<Op<'a>>,
}

/// One linear map. `input` numbers a value.
#[derive(Debug, Clone)]
pub(crate) enum Op<'a> {
    /// A convolution (or, at rank 0, a matrix product).
    Conv(ConvMap<'a>),
    /// `scale[c]·x + shift[c]`.
    Affine {
        /// The value it reads.
        input: usize,
        /// A factor a channel.
        scale: Vec<f64>,
        /// A summand a channel.
        shift: Vec<f64>,
    },
    /// An average over a window that counts its padding.
    Pool {
        /// The value it reads.
        input: usize,
        /// The window.
        window: Window,
    },
    /// A border of `fill[c]` (negative: a crop).
    Pad {
        /// The value it reads.
        input: usize,
        /// Pixels in front, an axis each.
        before: Vec<i64>,
        /// Pixels behind, an axis each.
        after: Vec<i64>,
        /// The border's value, a channel each.
        fill: Vec<f64>,
    },
    /// `Σ factor·value`.
    Sum {
        /// Value and factor.
        terms: Vec<(usize, f64)>,
    },
}

/// A convolution of one value.
#[derive(Debug, Clone)]
pub(crate) struct ConvMap<'a> {
    /// The value it reads.
    pub(crate) input: usize,
    /// Weights `[out, in/groups, kernel…]`, or `[in, out]` where `transposed`.
    pub(crate) weight: &'a Tensor,
    /// Whether a matrix is stored `[in, out]`.
    pub(crate) transposed: bool,
    /// A factor on the weights (`Gemm`'s alpha).
    pub(crate) factor: f64,
    /// A summand an output channel.
    pub(crate) bias: Option<Vec<f64>>,
    /// The window.
    pub(crate) window: Window,
    /// Number of groups.
    pub(crate) groups: usize,
    /// Channels it reads.
    pub(crate) in_channels: usize,
    /// Channels it makes.
    pub(crate) out_channels: usize,
}

impl Op<'_> {
    /// The values that the map reads.
    pub(crate) fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Conv(conv) => vec![conv.input],
            Self::Affine { input, .. } | Self::Pool { input, .. } | Self::Pad { input, .. } => vec![*input],
            Self::Sum { terms } => terms.iter().map(|(value, _)| *value).collect(),
        }
    }
}

impl Program<'_> {
    /// Number of values, the source included.
    pub(crate) fn value_count(&self) -> usize {
        self.ops.len() + 1
    }
}
