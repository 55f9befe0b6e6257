//! The direct sum, any kernel size and stride: bands of output rows over a padded copy of the rows that they read.

use super::band::{self, PaddedRow};
use super::executor::Executor;
use super::geometry::{Convolution, SourceLayout};
use super::layer::{Call, Panel};
use super::scratch::{self, Slot};
use super::vector::{self, Band};

/// Bytes of weights that stay in a second-level cache from one band to the next.
const CACHED_BYTES: usize = 256 << 10;
/// Bytes of padded input that bands may take together where the weights do not stay: they are read once for all of these bands.
const SHARED_BYTES: usize = 1 << 20;

/// Writes `[O, I/groups, kh, kw]` into `[panel][channel block][kh][kw][channel][vectors · lanes]`.
pub(super) fn pack(
    conv: &Convolution,
    layout: SourceLayout,
    panels: &[Panel],
    lanes: usize,
    weights: &[f32],
    target: &mut [f32],
) {
    let (depth, taps) = (conv.in_channels / conv.groups, conv.kernel[0] * conv.kernel[1]);
    let input_lanes = input_lanes(layout, lanes);
    for panel in panels {
        let (width, first) = (panel.vectors * lanes, panel.block * lanes);
        let mut at = panel.weights;
        for block in (0..depth).step_by(input_lanes) {
            for tap in 0..taps {
                for k in block..(block + input_lanes).min(depth) {
                    for out in first..(first + width).min(conv.out_channels) {
                        target[at + out - first] = weights[(out * depth + k) * taps + tap];
                    }
                    at += width;
                }
            }
        }
    }
}

fn input_lanes(layout: SourceLayout, lanes: usize) -> usize {
    match layout {
        SourceLayout::Blocked => lanes,
        SourceLayout::Nchw => 1,
    }
}

pub(super) fn run(call: &Call<'_>, executor: &dyn Executor) {
    let plan = BandPlan::new(call, executor.threads());
    executor.run(plan.groups * plan.panel_groups, &|task| {
        plan.run(task / plan.panel_groups, task % plan.panel_groups);
    });
}

struct BandPlan<'a> {
    call: &'a Call<'a>,
    input_lanes: usize,
    /// Output rows of a band.
    rows: usize,
    /// Bands of an image.
    bands: usize,
    /// Columns of the padded copy.
    columns: usize,
    /// Floats of a band's padded copy.
    band_floats: usize,
    /// Parts into which the bands of all images are divided; those of one part read a panel's weights one after the other.
    groups: usize,
    /// Parts into which the panels are divided, so that every thread has a task.
    panel_groups: usize,
}

/// Some output rows of an image.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    first: usize,
    rows: usize,
    /// Rows of the padded copy.
    input_rows: usize,
}

impl<'a> BandPlan<'a> {
    fn new(call: &'a Call<'a>, threads: usize) -> Self {
        let conv = &call.layer.conv;
        let input_lanes = input_lanes(call.layer.layout, call.layer.isa.lanes());
        let columns = band::columns(conv, call.out_size.1);
        let row_floats = columns * conv.in_channels.div_ceil(input_lanes) * input_lanes;
        let most = band::rows_max(conv, row_floats * size_of::<f32>(), call.out_size.0);
        let bands = call.out_size.0.div_ceil(most);
        let rows = call.out_size.0.div_ceil(bands);
        let band_floats = ((rows - 1) * conv.strides[0] + conv.kernel[0]) * row_floats;
        let together = if call.layer.bytes() > CACHED_BYTES {
            (SHARED_BYTES / (band_floats * size_of::<f32>())).max(1)
        } else {
            1
        };
        let groups = (call.extent.images * bands).div_ceil(together);
        let wanted = if threads > 1 { 2 * threads } else { 1 };
        Self {
            call,
            input_lanes,
            rows,
            bands,
            columns,
            band_floats,
            groups,
            panel_groups: wanted.div_ceil(groups).min(call.layer.panels.len()),
        }
    }

    fn place(&self, index: usize) -> Place {
        let conv = &self.call.layer.conv;
        let first = index % self.bands * self.rows;
        let rows = self.rows.min(self.call.out_size.0 - first);
        Place {
            image: index / self.bands,
            first,
            rows,
            input_rows: (rows - 1) * conv.strides[0] + conv.kernel[0],
        }
    }

    /// The outputs of a group of bands and a group of panels.
    fn run(&self, group: usize, panel_group: usize) {
        let layer = self.call.layer;
        let part = |of: usize, i: usize, parts: usize| i * of / parts..(i + 1) * of / parts;
        let places = part(self.call.extent.images * self.bands, group, self.groups);
        let panels = part(layer.panels.len(), panel_group, self.panel_groups);
        scratch::with(Slot::Input, places.len() * self.band_floats, |padded| {
            for (index, padded) in places.clone().zip(padded.chunks_exact_mut(self.band_floats)) {
                self.copy_padded(self.place(index), padded);
            }
            for panel in &layer.panels[panels] {
                for (turn, index) in places.clone().enumerate() {
                    let padded = &padded[turn * self.band_floats..][..self.band_floats];
                    self.multiply(self.place(index), panel, padded, (turn, places.len()));
                }
            }
        });
    }

    /// One panel of a band; `turn` says which of how many bands that share the panel's weights it is.
    fn multiply(&self, place: Place, panel: &Panel, padded: &[f32], turn: (usize, usize)) {
        let (call, layer) = (self.call, self.call.layer);
        let (conv, input_row) = (&layer.conv, self.columns * self.input_lanes);
        vector::rows_of_pixels(
            layer.isa,
            Band {
                input: padded,
                input_block: place.input_rows * input_row,
                input_row,
                input_lanes: self.input_lanes,
                channels: (panel.channel, conv.in_channels / conv.groups),
                kernel: conv.kernel,
                strides: conv.strides,
                weights: &layer.weights[panel.weights..],
                turn,
                bias: &layer.bias,
                residual: call.residual,
                relu: conv.relu,
                output: call.output,
                block: panel.block,
                vectors: panel.vectors,
                blocks: layer.bias.len() / layer.isa.lanes(),
                image: place.image,
                rows: (place.first, place.rows),
                out_size: call.out_size,
            },
        );
    }

    /// Fills `[blocks][rows][columns][lanes]` with the input that a band reads, zeros outside of it.
    fn copy_padded(&self, place: Place, target: &mut [f32]) {
        let (extent, conv, lanes) = (self.call.extent, &self.call.layer.conv, self.input_lanes);
        let (rows, top) = (place.input_rows, place.first * conv.strides[0]);
        let (width, blocks) = (self.columns * lanes, extent.channels.div_ceil(lanes));
        let padded = PaddedRow {
            columns: self.columns,
            pixel: lanes,
            channels: lanes,
            left: conv.pads[1],
        };
        for (index, line) in target[..blocks * rows * width].chunks_exact_mut(width).enumerate() {
            let block = index / rows;
            let source = band::input_row(conv, top + index % rows, extent.height).map(|y| {
                let from = ((place.image * blocks + block) * extent.height + y) * extent.width * lanes;
                &self.call.input[from..][..extent.width * lanes]
            });
            padded.fill(line, source, 0.0);
        }
    }
}
