//! One call of a layer, cut into tasks that threads run in any order.

use super::depthwise::{self, is_depthwise};
use super::{Int8Panel, PreparedInt8Conv, pixel};
use crate::band::{self, PaddedRow};
use crate::scratch;
use crate::vector::{self, Int8Band, Int8Output, PanelRows, Residual, SharedOutput};

/// One call of a layer: slices whose lengths have been checked.
pub(super) struct Run<'a, T> {
    pub(super) layer: &'a PreparedInt8Conv,
    pub(super) input: &'a [u8],
    pub(super) residual: Option<Residual<'a>>,
    pub(super) output: SharedOutput<'a, T>,
    pub(super) size: (usize, usize),
    pub(super) out_size: (usize, usize),
}

/// How a call is cut: bands of rows of each image, and each band's panels of output channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    bands: usize,
    /// Output rows of a band.
    rows: usize,
    /// Parts of the panels.
    parts: usize,
    /// Columns of the padded input, and bytes of one of its pixels.
    padded: [usize; 2],
    /// Tasks of all images.
    pub(super) tasks: usize,
}

impl Cut {
    /// Every thread gets rows of its own where there are enough of them, and some of the panels where there are not.
    pub(super) fn new(layer: &PreparedInt8Conv, out_size: (usize, usize), images: usize, threads: usize) -> Self {
        let conv = &layer.conv;
        let pixel = pixel(conv);
        let columns = band::columns(conv, out_size.1);
        let most = if layer.finer.then.is_some() {
            out_size.0
        } else if is_depthwise(conv) {
            depthwise::rows(conv, columns * pixel, out_size.0)
        } else {
            band::rows_max(conv, columns * pixel, out_size.0)
        };
        let bands = out_size.0.div_ceil(most).next_multiple_of(threads).min(out_size.0);
        let mut rows = out_size.0.div_ceil(bands);
        if is_depthwise(conv) {
            rows = depthwise::whole_groups(conv, rows, out_size.0);
        }
        let bands = out_size.0.div_ceil(rows);
        let wanted = if threads > 1 { 2 * threads } else { 1 };
        let parts = wanted.div_ceil(images * bands).min(layer.panels.len());
        Self {
            bands,
            rows,
            parts,
            padded: [columns, pixel],
            tasks: images * bands * parts,
        }
    }
}

impl<T: Int8Output> Run<'_, T> {
    /// Computes one of the cut's tasks.
    pub(super) fn task(&self, cut: &Cut, task: usize) {
        let (image, rows, panels) = self.share(cut, task);
        if is_depthwise(&self.layer.conv) {
            self.band_of_channels(image, rows, panels, cut.padded);
        } else {
            self.band(image, rows, panels, cut.padded);
        }
    }

    /// A task's image, its first row and how many, and its panels.
    pub(super) fn share(&self, cut: &Cut, task: usize) -> (usize, (usize, usize), &[Int8Panel]) {
        let panels = self.layer.panels.len();
        let (place, part) = (task / cut.parts, task % cut.parts);
        let first = place % cut.bands * cut.rows;
        let rows = (first, cut.rows.min(self.out_size.0 - first));
        let panels = part * panels / cut.parts..(part + 1) * panels / cut.parts;
        (place / cut.bands, rows, &self.layer.panels[panels])
    }

    /// Whether nothing pads the input, so that it is read where it lies.
    fn reads_in_place(&self) -> bool {
        let conv = &self.layer.conv;
        conv.kernel == [1; 2] && conv.pads == [0; 4] && pixel(conv) == conv.in_channels
    }

    /// Calls `body` with what some rows of the layer's outputs, the first and how many, read, and the bytes between two of its rows and pixels.
    pub(super) fn with_input(&self, image: usize, rows: (usize, usize), body: impl FnOnce(&[u8], [usize; 2])) {
        let conv = &self.layer.conv;
        let top = rows.0 * conv.strides[0];
        if self.reads_in_place() {
            let (row, pixel) = (self.size.1 * self.layer.read(), self.layer.read());
            return body(&self.input[(image * self.size.0 + top) * row..], [row, pixel]);
        }
        let pixel = pixel(conv);
        let Some((_, width)) = conv.output_size(self.size.0, self.size.1) else {
            return;
        };
        let columns = band::columns(conv, width);
        let input_rows = (rows.1 - 1) * conv.strides[0] + conv.kernel[0];
        scratch::bytes(input_rows * columns * pixel, |padded| {
            self.copy_padded(image, top, [columns, pixel], padded);
            body(padded, [columns * pixel, pixel]);
        });
    }

    fn band(&self, image: usize, rows: (usize, usize), panels: &[Int8Panel], [columns, pixel]: [usize; 2]) {
        let conv = &self.layer.conv;
        let top = rows.0 * conv.strides[0];
        if self.reads_in_place() {
            let pixel = self.layer.read();
            let row = self.size.1 * pixel;
            let input = &self.input[(image * self.size.0 + top) * row..];
            if conv.strides == [1; 2] {
                return self.pixels(image, rows, panels, input);
            }
            return self.panels(image, rows, panels, input, [row, pixel]);
        }
        let input_rows = (rows.1 - 1) * conv.strides[0] + conv.kernel[0];
        scratch::bytes(input_rows * columns * pixel, |padded| {
            self.copy_padded(image, top, [columns, pixel], padded);
            self.panels(image, rows, panels, padded, [columns * pixel, pixel]);
        });
    }

    /// The panels of a band that reads and writes pixel by pixel, `input` from its first on: the rows are one long one.
    fn pixels(&self, image: usize, rows: (usize, usize), panels: &[Int8Panel], input: &[u8]) {
        let (width, channels) = (self.out_size.1, self.layer.conv.out_channels);
        let (first, pixels) = ((image * self.out_size.0 + rows.0) * width, rows.1 * width);
        let (start, len) = (first * channels, pixels * channels);
        let row = Run {
            output: self.output.part(start, len),
            residual: self.residual.map(|residual| residual.part(start, len)),
            size: (1, pixels),
            out_size: (1, pixels),
            ..*self
        };
        let pixel = self.layer.read();
        row.panels(0, (0, 1), panels, input, [pixels * pixel, pixel]);
    }

    /// The panels of a band; `strides`: bytes between two rows, and between two pixels, of `input`.
    fn panels(&self, image: usize, rows: (usize, usize), panels: &[Int8Panel], input: &[u8], strides: [usize; 2]) {
        let layer = self.layer;
        let (first, depth) = layer.read_last();
        for panel in panels {
            let band = Int8Band {
                panel: self.panel(image, rows, panel, input, strides),
                finer: panel.before,
                channels: (first + panel.channel, depth),
            };
            vector::rows_of_int8(layer.isa, band);
        }
    }

    /// One panel of a band.
    pub(super) fn panel<'a>(
        &'a self,
        image: usize,
        rows: (usize, usize),
        panel: &Int8Panel,
        input: &'a [u8],
        [input_row, input_pixel]: [usize; 2],
    ) -> PanelRows<'a, T> {
        let (layer, conv) = (self.layer, &self.layer.conv);
        PanelRows {
            input,
            input_row,
            input_pixel,
            kernel: conv.kernel,
            strides: conv.strides,
            weights: &layer.weights[panel.weights..],
            bias: &layer.bias[panel.bias..],
            scale: &layer.scales[panel.bias..],
            zero: layer.zeros[1],
            residual: self.residual,
            output: self.output,
            out_channels: conv.out_channels,
            out: panel.out..panel.out + panel.count,
            image,
            rows,
            out_size: self.out_size,
            out_row: self.out_size.1,
        }
    }

    /// Fills `[rows][columns][pixel]` with the input from padded row `top` on, the zero point outside of it. Weights of channels that
    /// only pad a pixel are zero, whatever stands there.
    fn copy_padded(&self, image: usize, top: usize, [columns, pixel]: [usize; 2], target: &mut [u8]) {
        let (conv, (height, width)) = (&self.layer.conv, self.size);
        let padded = PaddedRow {
            columns,
            pixel,
            channels: conv.in_channels,
            left: conv.pads[1],
        };
        for (row, line) in target.chunks_exact_mut(columns * pixel).enumerate() {
            let source = band::input_row(conv, top + row, height).map(|y| {
                let values = width * conv.in_channels;
                &self.input[(image * height + y) * values..][..values]
            });
            padded.fill(line, source, self.layer.zeros[0]);
        }
    }
}
