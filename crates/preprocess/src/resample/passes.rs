//! The two passes of a resampling, in integers.

use std::ops::Range;

use super::weights::{PRECISION_BITS, Weights};
use super::wide::wide;

/// Half of the last kept bit, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Bytes that the pass across reads for a pixel: its three channels and one that fills the register.
const PIXEL_LANES: usize = 4;

/// Bytes that the pass down works on at once: few enough for the registers, many enough to fill them.
const LANES: usize = 32;

/// A part of an RGB picture, known by its place in the whole.
pub(super) struct Part<'a> {
    /// Its rows, each of `columns.len()` pixels.
    pub data: &'a [u8],
    /// The picture's rows that it holds.
    pub rows: Range<usize>,
    /// The picture's columns that it holds.
    pub columns: Range<usize>,
}

impl Part<'_> {
    fn row_bytes(&self) -> usize {
        self.columns.len() * 3
    }
}

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Resamples the given rows to one pixel for each of the weights.
pub(super) fn across(part: &Part<'_>, rows: Range<usize>, weights: &Weights) -> Vec<u8> {
    let stride = part.row_bytes();
    let mut out = vec![0; rows.len() * weights.len() * 3];
    let first = rows.start - part.rows.start;
    let pixels = part.data.chunks_exact(stride).skip(first).take(rows.len());
    let mut padded = Vec::with_capacity(stride + PIXEL_LANES);
    for (row, out) in pixels.zip(out.chunks_exact_mut(weights.len() * 3)) {
        padded.clear();
        padded.extend_from_slice(row);
        padded.resize(stride + PIXEL_LANES, 0);
        wide(|| across_row(&padded, part.columns.start, weights, out));
    }
    out
}

/// `row` has at least [`PIXEL_LANES`] - 3 bytes more than its pixels: each is read with what follows, which is then left out.
#[inline(always)]
fn across_row(row: &[u8], column: usize, weights: &Weights, out: &mut [u8]) {
    for ((first, values), out) in weights.iter().zip(out.as_chunks_mut::<3>().0) {
        let taps = row[(first - column) * 3..].windows(PIXEL_LANES).step_by(3);
        let mut sums = [HALF; PIXEL_LANES];
        for (pixel, &weight) in taps.zip(values) {
            for (sum, &channel) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(channel) * weight;
            }
        }
        let [red, green, blue, ..] = sums.map(clip);
        *out = [red, green, blue];
    }
}

/// Resamples the given columns to one row for each of the weights.
pub(super) fn down(part: &Part<'_>, columns: Range<usize>, weights: &Weights) -> Vec<u8> {
    let (stride, width) = (part.row_bytes(), columns.len() * 3);
    let offset = (columns.start - part.columns.start) * 3;
    let mut out = vec![0; weights.len() * width];
    for ((first, values), out) in weights.iter().zip(out.chunks_exact_mut(width)) {
        let rows = &part.data[(first - part.rows.start) * stride + offset..];
        wide(|| down_row(rows, stride, values, out));
    }
    out
}

#[inline(always)]
fn down_row(rows: &[u8], stride: usize, values: &[i32], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let whole = blocks.len() * LANES;
    for (index, block) in blocks.iter_mut().enumerate() {
        *block = column_block(&rows[index * LANES..], stride, values);
    }
    for (index, byte) in rest.iter_mut().enumerate() {
        let taps = rows[whole + index..].iter().step_by(stride).zip(values);
        *byte = clip(taps.fold(HALF, |sum, (&channel, &weight)| sum + i32::from(channel) * weight));
    }
}

#[inline(always)]
fn column_block(rows: &[u8], stride: usize, values: &[i32]) -> [u8; LANES] {
    let mut sums = [HALF; LANES];
    for (row, &weight) in rows.chunks(stride).zip(values) {
        let Some(row) = row.first_chunk::<LANES>() else { break };
        for (sum, &channel) in sums.iter_mut().zip(row) {
            *sum += i32::from(channel) * weight;
        }
    }
    sums.map(clip)
}
