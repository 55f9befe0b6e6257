//! Depthwise layers: how their weights lie, and one band of them. A band is computed some channels after the others, as many as a
//! cache line holds: so the padded copy of their rows and the outputs' lines stay in the first-level cache until all of them are done.

use std::ops::Range;

use super::run::Run;
use super::{Int8Panel, Int8Parameters, Ready};
use crate::band;
use crate::geometry::{Convolution, product};
use crate::scratch;
use crate::vector::{
    self, INT8_GROUP, INT8_LANES, INT8_PANEL, INT8_TOGETHER, Int8Channels, Int8Isa, Int8Output, RowGroups,
};

/// Bytes of a pixel in the padded copy of their input: those of a panel of several vectors, or of as many panels of one.
pub(super) const PIXEL: usize = INT8_PANEL;
/// Bytes that the copy may take: half of a first-level cache.
const COPY_BYTES: usize = 24 << 10;

/// Output rows of a band, whole groups of them where the layer has as many.
pub(super) fn rows(conv: &Convolution, row_bytes: usize, height: usize) -> usize {
    let together = RowGroups::of(conv.kernel[0], conv.strides[0]).rows;
    let fitting = (COPY_BYTES / row_bytes).saturating_sub(conv.kernel[0]) / conv.strides[0] + 1;
    (fitting / together * together).max(together).min(height)
}

/// The same number of rows or a few more, so that no group of them is left in pieces.
pub(super) fn whole_groups(conv: &Convolution, rows: usize, height: usize) -> usize {
    rows.next_multiple_of(RowGroups::of(conv.kernel[0], conv.strides[0]).rows)
        .min(height)
}

/// Whether every output channel reads one input channel, its own.
pub(super) fn is_depthwise(conv: &Convolution) -> bool {
    conv.groups > 1 && conv.in_channels == conv.groups && conv.out_channels == conv.groups
}

/// Ready weights of an output channel.
pub(super) fn row(conv: &Convolution) -> usize {
    RowGroups::of(conv.kernel[0], conv.strides[0]).weights(conv.kernel[1]) / INT8_LANES
}

/// Writes each weight where the group of rows of each output row has it.
pub(super) fn pack(
    conv: &Convolution,
    isa: Int8Isa,
    panels: &[Int8Panel],
    parameters: &Int8Parameters<'_>,
    ready: &mut Ready,
) {
    let [kh, kw] = conv.kernel;
    let groups = RowGroups::of(kh, conv.strides[0]);
    for panel in panels {
        for channel in 0..panel.count {
            let place = isa.place(channel, panel.vectors);
            let weights = &parameters.weights[(panel.out + channel) * kh * kw..][..kh * kw];
            for row in 0..groups.rows {
                for (tap, weight) in weights.iter().enumerate() {
                    let (from_top, kx) = (row * conv.strides[0] + tap / kw, tap % kw);
                    let group = row * groups.groups + from_top / INT8_TOGETHER;
                    let at = (group * kw + kx) * panel.vectors * INT8_GROUP + place * INT8_TOGETHER;
                    ready.weights[panel.weights + at + from_top % INT8_TOGETHER] = *weight;
                }
            }
            ready.finish(panel, [channel, place], [weights, &[]], parameters);
        }
    }
}

impl<T: Int8Output> Run<'_, T> {
    /// As [`Run::band`], of a depthwise layer.
    pub(super) fn band_of_channels(
        &self,
        image: usize,
        rows: (usize, usize),
        panels: &[Int8Panel],
        [columns, pixel]: [usize; 2],
    ) {
        let (layer, conv) = (self.layer, &self.layer.conv);
        let input = ((rows.1 - 1) * conv.strides[0] + conv.kernel[0]) * columns * pixel;
        let groups = RowGroups::of(conv.kernel[0], conv.strides[0]).groups;
        let work = product([groups, columns, layer.isa.panel_depthwise(), INT8_GROUP]);
        scratch::bytes(input + work, |space| {
            let (padded, work) = space.split_at_mut(input);
            for some in panels.chunk_by(|a, b| a.out / PIXEL == b.out / PIXEL) {
                let first = some[0].out;
                let end = some.last().map_or(first, |panel| panel.out + panel.count);
                self.copy_channels(image, rows.0 * conv.strides[0], columns, first..end, padded);
                for panel in some {
                    let band = Int8Channels {
                        panel: self.panel(image, rows, panel, padded, [columns * pixel, pixel]),
                        channel: panel.out - first,
                        columns: &mut *work,
                    };
                    vector::rows_of_channels(layer.isa, band);
                }
            }
        });
    }

    /// Fills `[rows][columns][PIXEL]` with some channels of the input from padded row `top` on, the zero point outside of it.
    fn copy_channels(&self, image: usize, top: usize, columns: usize, channels: Range<usize>, target: &mut [u8]) {
        let (conv, (height, width), zero) = (&self.layer.conv, self.size, self.layer.zeros[0]);
        let all = conv.in_channels;
        let left = conv.pads[1].min(columns);
        let real = width.min(columns - left);
        for (row, line) in target.chunks_exact_mut(columns * PIXEL).enumerate() {
            let Some(y) = band::input_row(conv, top + row, height) else {
                line.fill(zero);
                continue;
            };
            let source = &self.input[(image * height + y) * width * all..][..real * all];
            line[..left * PIXEL].fill(zero);
            line[(left + real) * PIXEL..].fill(zero);
            let pixels = line[left * PIXEL..(left + real) * PIXEL].as_chunks_mut::<PIXEL>().0;
            for (to, from) in pixels.iter_mut().zip(source.chunks_exact(all)) {
                let from = &from[channels.clone()];
                match <&[u8; PIXEL]>::try_from(from) {
                    Ok(whole) => *to = *whole,
                    Err(_) => to[..from.len()].copy_from_slice(from),
                }
            }
        }
    }
}
