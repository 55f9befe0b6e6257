//! The direct sum, any kernel size and stride: bands of output rows over a padded copy of the rows that they read.

use super::band::{self, PaddedRow};
use super::executor::Executor;
use super::geometry::{Convolution, SourceLayout};
use super::layer::{Call, Panel};
use super::scratch::{self, Slot};
use super::vector::{self, Band};

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
    let bands = call.out_size.0.div_ceil(plan.rows);
    executor.run(call.extent.images * bands * plan.panel_groups, &|task| {
        let (place, group) = (task / plan.panel_groups, task % plan.panel_groups);
        plan.band(place / bands, place % bands * plan.rows, group);
    });
}

struct BandPlan<'a> {
    call: &'a Call<'a>,
    input_lanes: usize,
    /// Output rows of a band.
    rows: usize,
    /// Columns of the padded copy.
    columns: usize,
    /// Parts into which the panels are divided, so that every thread has a task.
    panel_groups: usize,
}

impl<'a> BandPlan<'a> {
    fn new(call: &'a Call<'a>, threads: usize) -> Self {
        let conv = &call.layer.conv;
        let input_lanes = input_lanes(call.layer.layout, call.layer.isa.lanes());
        let columns = band::columns(conv, call.out_size.1);
        let row_bytes = columns * conv.in_channels.div_ceil(input_lanes) * input_lanes * size_of::<f32>();
        let most = band::rows_max(conv, row_bytes, call.out_size.0);
        let bands = call.out_size.0.div_ceil(most);
        let tasks = call.extent.images * bands;
        let wanted = if threads > 1 { 2 * threads } else { 1 };
        let panel_groups = wanted.div_ceil(tasks).min(call.layer.panels.len());
        Self {
            call,
            input_lanes,
            rows: call.out_size.0.div_ceil(bands),
            columns,
            panel_groups,
        }
    }

    fn band(&self, image: usize, first: usize, group: usize) {
        let (call, layer) = (self.call, self.call.layer);
        let (conv, lanes) = (&layer.conv, layer.isa.lanes());
        let rows = self.rows.min(call.out_size.0 - first);
        let input_rows = (rows - 1) * conv.strides[0] + conv.kernel[0];
        let input_row = self.columns * self.input_lanes;
        let input_block = input_rows * input_row;
        let blocks = conv.in_channels.div_ceil(self.input_lanes);
        let count = layer.panels.len();
        let panels = group * count / self.panel_groups..(group + 1) * count / self.panel_groups;
        scratch::with(Slot::Input, blocks * input_block, |padded| {
            self.copy_padded(image, first * conv.strides[0], input_rows, padded);
            for panel in &layer.panels[panels] {
                vector::rows_of_pixels(
                    layer.isa,
                    Band {
                        input: padded,
                        input_block,
                        input_row,
                        input_lanes: self.input_lanes,
                        channels: (panel.channel, conv.in_channels / conv.groups),
                        kernel: conv.kernel,
                        strides: conv.strides,
                        weights: &layer.weights[panel.weights..],
                        bias: &layer.bias,
                        residual: call.residual,
                        relu: conv.relu,
                        output: call.output,
                        block: panel.block,
                        vectors: panel.vectors,
                        blocks: layer.bias.len() / lanes,
                        image,
                        rows: (first, rows),
                        out_size: call.out_size,
                    },
                );
            }
        });
    }

    /// Fills `[blocks][rows][columns][lanes]` with the input from padded row `top` on, zeros outside of it.
    fn copy_padded(&self, image: usize, top: usize, rows: usize, target: &mut [f32]) {
        let (extent, conv, lanes) = (self.call.extent, &self.call.layer.conv, self.input_lanes);
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
                let from = ((image * blocks + block) * extent.height + y) * extent.width * lanes;
                &self.call.input[from..][..extent.width * lanes]
            });
            padded.fill(line, source, 0.0);
        }
    }
}
