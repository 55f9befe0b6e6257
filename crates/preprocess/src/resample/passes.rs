//! The two passes of a resampling, in integers, one row at a time.

use super::weights::{PRECISION_BITS, Weights};
use super::wide::wide;

/// Half of the last kept bit, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Bytes that the pass across reads for a pixel: its three channels and one that fills the register.
const PIXEL_LANES: usize = 4;

/// Bytes that the pass down works on at once: few enough for the registers, many enough to fill them.
const LANES: usize = 32;

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Resamples one row to a pixel for each of the weights. `row` begins at the source's pixel `column`; `padded` is scratch space.
pub(super) fn across(row: &[u8], column: usize, weights: &Weights, padded: &mut Vec<u8>, out: &mut [u8]) {
    padded.clear();
    padded.extend_from_slice(row);
    padded.resize(row.len() + PIXEL_LANES, 0);
    wide(|| across_row(padded, column, weights, out));
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

/// Resamples rows, which lie `stride` bytes apart from the first that counts, to one.
pub(super) fn down(rows: &[u8], stride: usize, values: &[i32], out: &mut [u8]) {
    wide(|| down_row(rows, stride, values, out));
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
