//! The algebra alone: linear maps of one image, and how they become one convolution. No graph, no files.
//!
//! A [`Program`] is a straight-line list of linear maps of one source, in which value 0 is the source and operation `i`
//! makes value `i + 1`. [`Program::plan`] decides whether the last value is a single convolution of the source (and which
//! one), [`Program::compile`] computes its weights.
//!
//! Exactness. Extend the source by zeros over the whole plane and every value by its own formula. A value's extension
//! agrees with it on its grid. A window that reads past the grid finds zeros (or the padding value) in the graph and the
//! extension in the merged convolution; the two are equal where the extension is *uniform*, that is constant a channel
//! outside the grid, and that constant is the padding value. The source is uniform (0), maps of a single tap keep it,
//! windows of several taps lose it. Everything else follows by composition: with `y[i] = Σ w_u x[s·i + u] + b` the offsets
//! `u` of a chain add (scaled by the stride before), those of a sum unite.
//!
//! Weights are found a row at a time, by running the program backwards: the derivative of one output channel at one
//! position with respect to the source is that channel's row of the merged kernel. So a region needs memory for one row,
//! is computed in f64 throughout and rounded once.

mod compile;
mod differentiate;
mod form;
mod lattice;
mod plan;
mod route;
mod rows;
#[cfg(test)]
mod tests;

pub use compile::Compiled;
pub use lattice::{Lattice, gcd};
pub use plan::{Axis, Obstacle, Plan};

use repserve_graph::Tensor;

/// A straight-line program of linear maps of one source.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// Number of spatial axes; 0 for matrices.
    pub rank: usize,
    /// Channels of the source.
    pub channels: usize,
    /// Spatial extents of the source, where all are known.
    pub extents: Option<Vec<usize>>,
    /// Relative rounding error that the constants may have, where a border is compared with what a map makes of zeros.
    pub rounding: f64,
    /// The maps in order; operation `i` makes value `i + 1`. The last value is the result.
    pub ops: Vec<Op<'a>>,
}

/// One linear map. `input` numbers a value.
#[derive(Debug, Clone)]
pub enum Op<'a> {
    /// A convolution (or, at rank 0, a matrix product).
    Conv(Conv<'a>),
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
pub struct Conv<'a> {
    /// The value it reads.
    pub input: usize,
    /// Weights `[out, in/groups, kernel…]`, or `[in, out]` where `transposed`.
    pub weight: &'a Tensor,
    /// Whether a matrix is stored `[in, out]`.
    pub transposed: bool,
    /// A factor on the weights (`Gemm`'s alpha).
    pub factor: f64,
    /// A summand an output channel.
    pub bias: Option<Vec<f64>>,
    /// The window.
    pub window: Window,
    /// Number of groups.
    pub groups: usize,
    /// Channels it reads.
    pub in_channels: usize,
    /// Channels it makes.
    pub out_channels: usize,
}

/// Which side of an odd `auto_pad` gets the extra zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// The end.
    Upper,
    /// The beginning.
    Lower,
}

/// A sliding window, an entry an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: Vec<usize>,
    /// Distance of neighbouring outputs.
    pub strides: Vec<usize>,
    /// Distance of neighbouring taps.
    pub dilations: Vec<usize>,
    /// Zeros in front.
    pub begins: Vec<usize>,
    /// Zeros behind.
    pub ends: Vec<usize>,
    /// `auto_pad` that could not be resolved (`begins` and `ends` are then 0).
    pub auto: Option<Same>,
}

impl Window {
    /// A single tap of stride 1.
    pub fn pointwise(rank: usize) -> Self {
        Self {
            kernel: vec![1; rank],
            strides: vec![1; rank],
            dilations: vec![1; rank],
            begins: vec![0; rank],
            ends: vec![0; rank],
            auto: None,
        }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Whether the window reads past the image.
    pub fn is_padded(&self) -> bool {
        self.auto.is_some() || self.begins.iter().chain(&self.ends).any(|p| *p > 0)
    }
}

impl Op<'_> {
    /// The values that the map reads.
    pub fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Conv(conv) => vec![conv.input],
            Self::Affine { input, .. } | Self::Pool { input, .. } | Self::Pad { input, .. } => vec![*input],
            Self::Sum { terms } => terms.iter().map(|(value, _)| *value).collect(),
        }
    }
}

impl Program<'_> {
    /// Number of values, the source included.
    pub fn value_count(&self) -> usize {
        self.ops.len() + 1
    }
}
