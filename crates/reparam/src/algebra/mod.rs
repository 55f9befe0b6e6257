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
mod program;
mod route;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use compile::Compiled;
pub(crate) use plan::MergePlan;
pub(crate) use program::{ConvMap, Op, Program};
