//! The loops that touch vector registers, and all `unsafe` of the kernels.
//!
//! # Contract
//!
//! - Every function here that other modules call is safe: it checks, before it starts, that its slices hold what its geometry
//!   reads and writes. It counts with [`std::num::Saturating`]: what is more than can be counted is `usize::MAX`, which is no slice's
//!   length, and whatever is computed inside is smaller than what was counted. Inside, `load`, `store` and `scalar` of `register`
//!   index without a check in release and with one in debug.
//! - [`SharedOutput`] lets the tasks of one layer write one slice. A task writes only the points of its own tiles, or the
//!   pixels of its own tiles or rows and the channel blocks of its own panels; callers give no two tasks the same pair.
//! - [`Slots`] lets the layers of a chain read and write parts of one memory. No task writes a part that another reads meanwhile: layers run in
//!   phases, and a layer's output is none of its inputs.
//! - `isa::dispatch` enters code for an instruction set only when an [`Isa`] of that set exists, and [`Isa::available`] makes one only on a
//!   processor that has it; so do `int8` and [`Int8Isa::detect`].
//! - The generic code is written once over `register::Vector`. What differs between sets is the width and how many accumulators fit
//!   (`Vector::ROWS`), so tests of one set, and of the emulated 16-lane one, check the code of all.
#![allow(unsafe_code)]
// Arrays of registers are indexed by constants, often two at once; iterators hide which register is meant.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod buffer;
mod codes;
mod depthwise;
mod float_channels;
mod gemm;
mod grid;
mod int8;
mod isa;
mod pixels;
mod portable;
mod register;
mod sums;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod values;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_int8;

pub(super) use buffer::{Buffer, Plain, SharedOutput, Slots};
pub(super) use codes::{Codes, pixels_of_codes};
pub(super) use depthwise::{GROUP as INT8_GROUP, Int8Channels, RowGroups, rows_of_channels};
pub(super) use float_channels::{FloatChannels, rows_of_float_channels};
pub(super) use gemm::{Products, products};
pub(super) use grid::TileGrid;
pub use int8::Int8Isa;
pub(super) use int8::{Int8Band, rows_of_int8};
pub use isa::Isa;
pub(super) use pixels::{Band, rows_of_pixels};
pub use sums::Int8Sum;
pub(super) use sums::{
    Int8Output, LANES as INT8_LANES, PANEL as INT8_PANEL, PanelRows, Positive, Residual, TOGETHER as INT8_TOGETHER,
};
pub(super) use tiles::{OutputTiles, input_tiles, output_tiles};
pub(super) use values::Values;
