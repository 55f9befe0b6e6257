//! What a layer sees: mean and covariance of the values under its kernel, sampled over the calibration images.

use crate::job::Values;
use crate::layers::{Layer, LayerKind};
use crate::product;
use repserve_graph::ops::ImageWindow;

/// Largest matrix of second moments; a layer with more columns gets several, for blocks of its input channels.
const ORDER_MAX: usize = 2304;
/// Samples that a moment matrix of order n is estimated from, as a multiple of n.
const SAMPLES_PER_ORDER: usize = 6;
/// The fewest samples of a layer.
const SAMPLES_MIN: usize = 4096;

/// Moments of one layer's input windows, group by group, block by block.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    /// Consecutive blocks of columns; all groups of a layer are cut alike.
    pub(super) blocks: Vec<Block>,
    samples_per_image: usize,
}

/// Sums over the samples of some columns of one group.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) group: usize,
    /// First column, within the group.
    pub(super) start: usize,
    sums: Vec<f64>,
    products: Vec<f64>,
    samples: f64,
}

impl Block {
    /// Columns of the block.
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Mean of each column.
    pub(super) fn means(&self) -> impl Iterator<Item = f64> + '_ {
        self.sums.iter().map(|s| s / self.samples.max(1.0))
    }

    /// Covariance of the columns, row-major. The mean is left out: a bias takes care of it.
    pub(super) fn covariance(&self) -> Vec<f64> {
        let means: Vec<f64> = self.means().collect();
        let mut matrix: Vec<f64> = self.products.iter().map(|p| p / self.samples.max(1.0)).collect();
        for (row, mean) in matrix.chunks_mut(means.len().max(1)).zip(&means) {
            row.iter_mut().zip(&means).for_each(|(v, other)| *v -= mean * other);
        }
        matrix
    }
}

impl Moments {
    /// Nothing seen yet, of `images` images to come.
    pub(super) fn new(layer: &Layer, images: usize) -> Self {
        let [step, _] = cut(layer);
        let starts = (0..layer.columns).step_by(step);
        let cut = starts.map(|start| (start, step.min(layer.columns - start)));
        let blocks = (0..layer.groups)
            .flat_map(|group| cut.clone().map(move |(start, len)| Block::new(group, start, len)))
            .collect();
        let wanted = (layer.columns.min(ORDER_MAX) * SAMPLES_PER_ORDER).max(SAMPLES_MIN);
        Self {
            blocks,
            samples_per_image: wanted.div_ceil(images.max(1)),
        }
    }

    /// Memory that the moments of a layer take.
    pub(super) fn bytes(layer: &Layer) -> usize {
        let [step, starts] = cut(layer);
        let block = step.min(layer.columns);
        (layer.groups * starts).saturating_mul(block * block * size_of::<f64>())
    }

    /// Takes samples of one image: `input` of shape (1, channels, height, width) or (1, columns). What does not fit
    /// the layer is left out.
    pub(super) fn add(&mut self, layer: &Layer, input: &Values, seed: u64, scratch: &mut Vec<f32>) {
        let (input, shape) = (&input.data[..], &input.shape[..]);
        match (&layer.kind, shape) {
            (LayerKind::Conv(window), &[1, channels, height, width])
                if channels * layer.taps() == layer.columns * layer.groups
                    && input.len() == channels * height * width =>
            {
                let patches = Patches(window);
                let positions = patches.positions([height, width], self.samples_per_image, seed);
                let plane = height * width;
                let depth = layer.columns / layer.taps();
                for block in &mut self.blocks {
                    let first = block.group * depth + block.start / layer.taps();
                    let planes = &input[first * plane..(first + block.len() / layer.taps()) * plane];
                    let rows = patches.unfold(planes, [height, width], &positions);
                    block.add(&rows, scratch);
                }
            }
            (LayerKind::Gemm { .. }, &[1, columns]) if columns == layer.columns && input.len() == columns => {
                for block in &mut self.blocks {
                    let part = &input[block.start..block.start + block.len()];
                    block.add(part, scratch);
                }
            }
            _ => {}
        }
    }
}

/// Columns of a block and the blocks of a group: whole input channels, as many as [`ORDER_MAX`] allows.
fn cut(layer: &Layer) -> [usize; 2] {
    let step = (ORDER_MAX / layer.taps()).max(1) * layer.taps();
    [step, layer.columns.div_ceil(step)]
}

impl Block {
    fn new(group: usize, start: usize, len: usize) -> Self {
        Self {
            group,
            start,
            sums: vec![0.0; len],
            products: vec![0.0; len * len],
            samples: 0.0,
        }
    }

    fn add(&mut self, rows: &[f32], scratch: &mut Vec<f32>) {
        let columns = self.len();
        for row in rows.chunks(columns) {
            self.sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        product::add_gram(&mut self.products, scratch, rows, columns);
        self.samples += (rows.len() / columns.max(1)) as f64;
    }
}

/// The windows that a convolution reads.
struct Patches<'a>(&'a ImageWindow);

impl Patches<'_> {
    /// At most `count` different output positions, as (top, left) of their windows; which ones follows from `seed`.
    fn positions(&self, size: [usize; 2], count: usize, seed: u64) -> Vec<[isize; 2]> {
        let extent = |axis: usize| {
            let reach = self.0.dilations[axis] * (self.0.kernel[axis] - 1) + 1;
            (size[axis] + self.0.pads[axis] + self.0.pads[axis + 2])
                .checked_sub(reach)
                .map_or(0, |free| free / self.0.strides[axis] + 1)
        };
        let [high, wide] = [extent(0), extent(1)];
        let mut all: Vec<usize> = (0..high * wide).collect();
        if all.len() > count {
            fastrand::Rng::with_seed(seed).shuffle(&mut all);
            all.truncate(count);
        }
        let corner = |index: usize, axis: usize| (index * self.0.strides[axis]) as isize - self.0.pads[axis] as isize;
        all.into_iter()
            .map(|i| [corner(i / wide, 0), corner(i % wide, 1)])
            .collect()
    }

    /// The windows at `positions`, a row each: for every plane its taps, row-major; zero beyond the rim.
    fn unfold(&self, planes: &[f32], [height, width]: [usize; 2], positions: &[[isize; 2]]) -> Vec<f32> {
        let count = planes.len() / (height * width).max(1);
        let mut rows = Vec::with_capacity(positions.len() * count * self.0.kernel[0] * self.0.kernel[1]);
        for [top, left] in positions {
            for plane in planes.chunks(height * width) {
                for y in (0..self.0.kernel[0]).map(|k| top + (k * self.0.dilations[0]) as isize) {
                    for x in (0..self.0.kernel[1]).map(|k| left + (k * self.0.dilations[1]) as isize) {
                        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                        rows.push(if inside {
                            plane[y as usize * width + x as usize]
                        } else {
                            0.0
                        });
                    }
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> ImageWindow {
        ImageWindow {
            kernel: [3, 3],
            strides: [2, 2],
            dilations: [1, 1],
            pads: [1, 1, 1, 1],
        }
    }

    #[test]
    fn windows_start_in_the_padding_and_step_by_the_stride() {
        let mut all = Patches(&window()).positions([4, 4], 99, 0);
        all.sort_unstable();
        assert_eq!(all, [[-1, -1], [-1, 1], [1, -1], [1, 1]]);
        assert_eq!(Patches(&window()).positions([4, 4], 2, 7).len(), 2);
        let plane: Vec<f32> = (0..16u8).map(f32::from).collect();
        let rows = Patches(&window()).unfold(&plane, [4, 4], &[[-1, -1], [1, 1]]);
        assert_eq!(rows[..9], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0, 5.0]);
        assert_eq!(rows[9..], [5.0, 6.0, 7.0, 9.0, 10.0, 11.0, 13.0, 14.0, 15.0]);
    }

    #[test]
    fn moments_are_mean_and_covariance() {
        let mut block = Block::new(0, 0, 2);
        block.add(&[1.0, 2.0, 3.0, 6.0], &mut Vec::new());
        assert_eq!(block.means().collect::<Vec<_>>(), [2.0, 4.0]);
        assert_eq!(block.covariance(), [1.0, 2.0, 2.0, 4.0]);
    }
}
