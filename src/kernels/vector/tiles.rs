//! Winograd's two passes over tiles, between pixels and points; `transform` has their arithmetic.

use std::ops::Range;

use super::transform::{F2, F4, Transform};
use super::{Isa, SharedOutput, Vector, Work, dispatch, load, store};

/// The tiles of a layer's output: `[images][rows][columns]`, numbered in that order.
#[derive(Clone, Copy)]
pub(in super::super) struct TileGrid {
    /// Outputs along a tile's side: 4 or 2.
    pub(in super::super) side: usize,
    pub(in super::super) images: usize,
    /// Tiles along the output's height.
    pub(in super::super) rows: usize,
    /// Tiles along the output's width.
    pub(in super::super) columns: usize,
    /// Input rows and columns.
    pub(in super::super) input: (usize, usize),
    /// Output rows and columns.
    pub(in super::super) output: (usize, usize),
    /// Padding above and to the left.
    pub(in super::super) pads: (usize, usize),
}

impl TileGrid {
    pub(in super::super) fn tiles(&self) -> usize {
        self.images * self.rows * self.columns
    }

    /// Points of the transform: `(side + 2)²`.
    pub(in super::super) fn points(&self) -> usize {
        (self.side + 2) * (self.side + 2)
    }

    #[inline(always)]
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, rest) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        (image, rest / self.columns * self.side, rest % self.columns * self.side)
    }
}

/// Transforms the input of `tiles`, blocks `blocks` of `[images, total blocks, H, W, LANES]`, into points: point `p`, the `t`-th of
/// `tiles`, channel `k` goes to `p·plane + t·row + k` of `target`.
///
/// # Panics
/// When a slice is too short for the geometry.
#[allow(clippy::too_many_arguments)]
pub(in super::super) fn input_tiles(
    isa: Isa,
    grid: &TileGrid,
    source: &[f32],
    blocks: usize,
    tiles: Range<usize>,
    target: &mut [f32],
    plane: usize,
    row: usize,
) {
    if tiles.is_empty() || blocks == 0 {
        return;
    }
    let lanes = isa.lanes();
    assert!(tiles.end <= grid.tiles());
    assert!(grid.images * blocks * grid.input.0 * grid.input.1 * lanes <= source.len());
    assert!((grid.points() - 1) * plane + (tiles.len() - 1) * row + blocks * lanes <= target.len());
    dispatch(
        isa,
        InputTiles {
            grid,
            source,
            blocks,
            tiles,
            target,
            plane,
            row,
        },
    );
}

struct InputTiles<'a> {
    grid: &'a TileGrid,
    source: &'a [f32],
    blocks: usize,
    tiles: Range<usize>,
    target: &'a mut [f32],
    plane: usize,
    row: usize,
}

impl Work for InputTiles<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: `input_tiles` has checked the extents.
        unsafe {
            match self.grid.side {
                4 => self.each::<V, F4, 6, 4>(),
                _ => self.each::<V, F2, 4, 2>(),
            }
        }
    }
}

impl InputTiles<'_> {
    #[inline(always)]
    unsafe fn each<V: Vector, T: Transform<P, M>, const P: usize, const M: usize>(self) {
        let (height, width) = self.grid.input;
        let first = self.tiles.start;
        for tile in self.tiles {
            let (image, y, x) = self.grid.place(tile);
            let (top, left) = (
                y as isize - self.grid.pads.0 as isize,
                x as isize - self.grid.pads.1 as isize,
            );
            let inside = top >= 0 && left >= 0 && top as usize + P <= height && left as usize + P <= width;
            for block in 0..self.blocks {
                let start = (image * self.blocks + block) * height * width;
                let to = (tile - first) * self.row + block * V::LANES;
                // SAFETY: pixels are read inside the map only; `to` and the points lie in `target` (checked by the caller).
                unsafe {
                    let mut pixels = [[V::splat(0.0); P]; P];
                    if inside {
                        let corner = start + top as usize * width + left as usize;
                        for i in 0..P {
                            for j in 0..P {
                                pixels[i][j] = load(self.source, (corner + i * width + j) * V::LANES);
                            }
                        }
                    } else {
                        let range = |from: isize, size: usize| {
                            let end = (size as isize - from).clamp(0, P as isize);
                            (-from).clamp(0, end) as usize..end as usize
                        };
                        for i in range(top, height) {
                            let line = start + (top + i as isize) as usize * width;
                            for j in range(left, width) {
                                let at = line + (left + j as isize) as usize;
                                pixels[i][j] = load(self.source, at * V::LANES);
                            }
                        }
                    }
                    let points = both::<V, T, P, M>(pixels);
                    for i in 0..P {
                        for j in 0..P {
                            store(self.target, (i * P + j) * self.plane + to, points[i][j]);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn both<V: Vector, T: Transform<P, M>, const P: usize, const M: usize>(d: [[V; P]; P]) -> [[V; P]; P] {
    unsafe {
        let mut columns = [[V::splat(0.0); P]; P];
        for j in 0..P {
            let mut column = [V::splat(0.0); P];
            for i in 0..P {
                column[i] = d[i][j];
            }
            let column = T::input(column);
            for i in 0..P {
                columns[i][j] = column[i];
            }
        }
        let mut points = columns;
        for i in 0..P {
            points[i] = T::input(columns[i]);
        }
        points
    }
}

/// Where the products of one panel's tiles go.
pub(in super::super) struct OutputTiles<'a> {
    pub(in super::super) grid: &'a TileGrid,
    /// Point `p`, the `t`-th of `tiles`, vector `v` at `p·plane + (t·vectors + v)·LANES`.
    pub(in super::super) products: &'a [f32],
    pub(in super::super) plane: usize,
    pub(in super::super) tiles: Range<usize>,
    /// First block of output channels, and how many.
    pub(in super::super) block: usize,
    pub(in super::super) vectors: usize,
    /// Blocks of output channels of the whole layer.
    pub(in super::super) blocks: usize,
    /// One value a padded output channel.
    pub(in super::super) bias: &'a [f32],
    /// Blocked, as the output.
    pub(in super::super) residual: Option<&'a [f32]>,
    pub(in super::super) relu: bool,
    /// `[images, blocks, H, W, LANES]`.
    pub(in super::super) output: SharedOutput<'a>,
}

/// Transforms products back into pixels and adds bias and residual.
///
/// # Panics
/// When a slice is too short for the geometry.
pub(in super::super) fn output_tiles(isa: Isa, work: OutputTiles<'_>) {
    if work.tiles.is_empty() {
        return;
    }
    let (lanes, grid) = (isa.lanes(), work.grid);
    assert!(work.tiles.end <= grid.tiles() && work.block + work.vectors <= work.blocks);
    assert!((grid.points() - 1) * work.plane + work.tiles.len() * work.vectors * lanes <= work.products.len());
    assert!(work.blocks * lanes <= work.bias.len());
    let floats = grid.images * work.blocks * grid.output.0 * grid.output.1 * lanes;
    assert!(floats <= work.output.len() && work.residual.is_none_or(|r| floats <= r.len()));
    dispatch(isa, work);
}

impl Work for OutputTiles<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: `output_tiles` has checked the extents.
        unsafe {
            match self.grid.side {
                4 => self.each::<V, F4, 6, 4>(),
                _ => self.each::<V, F2, 4, 2>(),
            }
        }
    }
}

impl OutputTiles<'_> {
    #[inline(always)]
    unsafe fn each<V: Vector, T: Transform<P, M>, const P: usize, const M: usize>(self) {
        let (height, width) = self.grid.output;
        for (index, tile) in self.tiles.clone().enumerate() {
            let (image, y, x) = self.grid.place(tile);
            let (rows, columns) = (M.min(height - y), M.min(width - x));
            for v in 0..self.vectors {
                let block = self.block + v;
                let from = (index * self.vectors + v) * V::LANES;
                let corner = ((image * self.blocks + block) * height + y) * width + x;
                // SAFETY: `rows` and `columns` end at the map's border; the rest was checked by the caller.
                unsafe {
                    let bias = load::<V>(self.bias, block * V::LANES);
                    let mut half = [[V::splat(0.0); P]; M];
                    for j in 0..P {
                        let mut column = [V::splat(0.0); P];
                        for i in 0..P {
                            column[i] = load(self.products, (i * P + j) * self.plane + from);
                        }
                        let column = T::output(column);
                        for i in 0..M {
                            half[i][j] = column[i];
                        }
                    }
                    for i in 0..rows {
                        let pixels = T::output(half[i]);
                        for j in 0..columns {
                            let at = (corner + i * width + j) * V::LANES;
                            let mut pixel = pixels[j].add(bias);
                            if let Some(residual) = self.residual {
                                pixel = pixel.add(load(residual, at));
                            }
                            if self.relu {
                                pixel = pixel.relu();
                            }
                            self.output.store(at, pixel);
                        }
                    }
                }
            }
        }
    }
}
