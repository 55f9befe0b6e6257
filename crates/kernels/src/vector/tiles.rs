//! Winograd's two passes over tiles, between pixels and points; `transform` has their arithmetic.

use std::num::Saturating;
use std::ops::Range;

use super::buffer::SharedOutput;
use super::grid::{Place, TileGrid};
use super::isa::{Isa, Work, dispatch};
use super::register::{Vector, load, within};
use super::transform::{F2, F2OfF4, F4, Transform};

/// Transforms the input of `tiles`, of `[images, blocks, H, W, LANES]`, into points: point `p`, the `t`-th of `tiles`, channel `k`
/// goes to `p·plane + (first + t)·row + k` of `target`.
///
/// # Panics
/// When a slice is too short for the geometry.
#[allow(clippy::too_many_arguments)]
pub(crate) fn input_tiles(
    isa: Isa,
    grid: &TileGrid,
    source: &[f32],
    blocks: usize,
    tiles: Range<usize>,
    target: SharedOutput<'_>,
    first: usize,
    plane: usize,
    row: usize,
) {
    if tiles.is_empty() || blocks == 0 {
        return;
    }
    let work = InputTiles {
        grid,
        source,
        blocks,
        tiles,
        target,
        first,
        plane,
        row,
    };
    assert!(work.fits(isa.lanes()), "a slice is too short for the tiles");
    dispatch(isa, work);
}

pub(super) struct InputTiles<'a> {
    pub(super) grid: &'a TileGrid,
    pub(super) source: &'a [f32],
    pub(super) blocks: usize,
    pub(super) tiles: Range<usize>,
    pub(super) target: SharedOutput<'a>,
    pub(super) first: usize,
    pub(super) plane: usize,
    pub(super) row: usize,
}

impl InputTiles<'_> {
    /// Whether the slices hold all that is read and written, of at least one tile.
    pub(super) fn fits(&self, lanes: usize) -> bool {
        let count = Saturating::<usize>;
        let (grid, channels) = (self.grid, count(self.blocks) * count(lanes));
        let last_tile = count(self.first) + count(self.tiles.len() - 1);
        let last = count(grid.points() - 1) * count(self.plane) + last_tile * count(self.row) + channels;
        self.tiles.end <= grid.tiles()
            && grid.len(grid.input, channels) <= self.source.len()
            && last.0 <= self.target.len()
    }
}

impl Work for InputTiles<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (index, tile) in self.tiles.clone().enumerate() {
            let place = self.grid.place(tile);
            let to = (self.first + index) * self.row;
            // SAFETY: `input_tiles` has checked the extents.
            unsafe {
                match (self.grid.side(), place.short, place.slim) {
                    (4, false, false) => self.tile::<V, F4, F4, 6, 4, 6, 4>(&place, to),
                    (4, true, false) => self.tile::<V, F2OfF4, F4, 4, 2, 6, 4>(&place, to),
                    (4, false, true) => self.tile::<V, F4, F2OfF4, 6, 4, 4, 2>(&place, to),
                    (4, true, true) => self.tile::<V, F2OfF4, F2OfF4, 4, 2, 4, 2>(&place, to),
                    _ => self.tile::<V, F2, F2, 4, 2, 4, 2>(&place, to),
                }
            }
        }
    }
}
impl InputTiles<'_> {
    /// One tile, whose first point goes to `to`: `TY` along its height, `TX` along its width.
    #[inline(always)]
    unsafe fn tile<V, TY, TX, const PY: usize, const MY: usize, const PX: usize, const MX: usize>(
        &self,
        place: &Place,
        to: usize,
    ) where
        V: Vector,
        TY: Transform<PY, MY>,
        TX: Transform<PX, MX>,
    {
        let [height, width] = self.grid.input;
        let top = place.row as isize - self.grid.pads[0] as isize;
        let left = place.column as isize - self.grid.pads[1] as isize;
        // A bit a row and a column: constant positions keep the pixels in registers, where ranges would go through memory.
        let (rows, columns) = (bits_inside(top, height, PY), bits_inside(left, width, PX));
        let inside = rows + 1 == 1 << PY && columns + 1 == 1 << PX;
        let stride = self.grid.side() + 2;
        for block in 0..self.blocks {
            let corner = ((place.image * self.blocks + block) * height * width) as isize + top * width as isize + left;
            let to = to + block * V::LANES;
            // SAFETY: pixels are read inside the map only; `to` and the points lie in `target` (checked by the caller).
            unsafe {
                let mut pixels = [[V::splat(0.0); PX]; PY];
                for i in 0..PY {
                    for j in 0..PX {
                        if inside || rows >> i & columns >> j & 1 == 1 {
                            let at = corner + (i * width + j) as isize;
                            pixels[i][j] = load(self.source, at as usize * V::LANES);
                        }
                    }
                }
                let points = both::<V, TY, TX, PY, MY, PX, MX>(pixels);
                for i in 0..PY {
                    for j in 0..PX {
                        let point = TY::POINTS[i] * stride + TX::POINTS[j];
                        self.target.store(point * self.plane + to, points[i][j]);
                    }
                }
            }
        }
    }
}

/// Bit `i` is set where `from + i`, for `i < count`, lies within `0..size`.
#[inline(always)]
fn bits_inside(from: isize, size: usize, count: usize) -> usize {
    let inside = |i: &usize| (0..size as isize).contains(&(from + *i as isize));
    (0..count).filter(inside).fold(0, |bits, i| bits | 1 << i)
}

#[inline(always)]
unsafe fn both<V, TY, TX, const PY: usize, const MY: usize, const PX: usize, const MX: usize>(
    d: [[V; PX]; PY],
) -> [[V; PX]; PY]
where
    V: Vector,
    TY: Transform<PY, MY>,
    TX: Transform<PX, MX>,
{
    unsafe {
        let mut columns = [[V::splat(0.0); PX]; PY];
        for j in 0..PX {
            let mut column = [V::splat(0.0); PY];
            for i in 0..PY {
                column[i] = d[i][j];
            }
            let column = TY::input(column);
            for i in 0..PY {
                columns[i][j] = column[i];
            }
        }
        let mut points = columns;
        for i in 0..PY {
            points[i] = TX::input(columns[i]);
        }
        points
    }
}

/// Where the products of one panel's tiles go.
pub(crate) struct OutputTiles<'a> {
    pub(crate) grid: &'a TileGrid,
    /// Point `p`, the `t`-th of `tiles`, vector `v` at `p·plane + (t·vectors + v)·LANES`.
    pub(crate) products: &'a [f32],
    pub(crate) plane: usize,
    pub(crate) tiles: Range<usize>,
    /// First block of output channels, and how many.
    pub(crate) block: usize,
    pub(crate) vectors: usize,
    /// Blocks of output channels of the whole layer.
    pub(crate) blocks: usize,
    /// One value a padded output channel.
    pub(crate) bias: &'a [f32],
    /// Blocked, as the output.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) relu: bool,
    /// `[images, blocks, H, W, LANES]`.
    pub(crate) output: SharedOutput<'a>,
}

/// Transforms products back into pixels and adds bias and residual.
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn output_tiles(isa: Isa, work: OutputTiles<'_>) {
    if work.tiles.is_empty() {
        return;
    }
    assert!(work.fits(isa.lanes()), "a slice is too short for the tiles");
    dispatch(isa, work);
}

impl OutputTiles<'_> {
    /// Whether the slices hold all that is read and written.
    pub(super) fn fits(&self, lanes: usize) -> bool {
        let count = Saturating::<usize>;
        let (grid, channels) = (self.grid, count(self.blocks) * count(lanes));
        let products =
            count(grid.points() - 1) * count(self.plane) + count(self.tiles.len()) * count(self.vectors) * count(lanes);
        let floats = grid.len(grid.output, channels);
        self.tiles.end <= grid.tiles()
            && within(self.block, self.vectors, self.blocks)
            && products.0 <= self.products.len()
            && channels.0 <= self.bias.len()
            && floats <= self.output.len()
            && self.residual.is_none_or(|r| floats <= r.len())
    }
}

impl Work for OutputTiles<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (index, tile) in self.tiles.clone().enumerate() {
            let place = self.grid.place(tile);
            // SAFETY: `output_tiles` has checked the extents.
            unsafe {
                match (self.grid.side(), place.short, place.slim) {
                    (4, false, false) => self.tile::<V, F4, F4, 6, 4, 6, 4>(&place, index),
                    (4, true, false) => self.tile::<V, F2OfF4, F4, 4, 2, 6, 4>(&place, index),
                    (4, false, true) => self.tile::<V, F4, F2OfF4, 6, 4, 4, 2>(&place, index),
                    (4, true, true) => self.tile::<V, F2OfF4, F2OfF4, 4, 2, 4, 2>(&place, index),
                    _ => self.tile::<V, F2, F2, 4, 2, 4, 2>(&place, index),
                }
            }
        }
    }
}

impl OutputTiles<'_> {
    /// The `index`-th tile, as `InputTiles::tile`.
    #[inline(always)]
    unsafe fn tile<V, TY, TX, const PY: usize, const MY: usize, const PX: usize, const MX: usize>(
        &self,
        place: &Place,
        index: usize,
    ) where
        V: Vector,
        TY: Transform<PY, MY>,
        TX: Transform<PX, MX>,
    {
        let [height, width] = self.grid.output;
        let (rows, columns) = (MY.min(height - place.row), MX.min(width - place.column));
        let stride = self.grid.side() + 2;
        for v in 0..self.vectors {
            let block = self.block + v;
            let from = (index * self.vectors + v) * V::LANES;
            let corner = ((place.image * self.blocks + block) * height + place.row) * width + place.column;
            // SAFETY: `rows` and `columns` end at the map's border; the rest was checked by the caller.
            unsafe {
                for i in 0..rows {
                    for j in 0..columns {
                        self.output.prefetch((corner + i * width + j) * V::LANES);
                    }
                }
                let bias = load::<V>(self.bias, block * V::LANES);
                let mut half = [[V::splat(0.0); PX]; MY];
                for j in 0..PX {
                    let mut column = [V::splat(0.0); PY];
                    for i in 0..PY {
                        let point = TY::POINTS[i] * stride + TX::POINTS[j];
                        column[i] = load(self.products, point * self.plane + from);
                    }
                    let column = TY::output(column);
                    for i in 0..MY {
                        half[i][j] = column[i];
                    }
                }
                for i in 0..rows {
                    let pixels = TX::output(half[i]);
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
