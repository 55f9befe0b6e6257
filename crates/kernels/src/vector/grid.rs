//! How a layer's output is cut into tiles.
//!
//! Tiles are 4 outputs high and wide. Where a side leaves one or two over, the last tile there is *short* (2 high) or *slim*
//! (2 wide): it needs four of the six points along that side and leaves the others' products out. 14x14 outputs so take 484
//! products a pair of channels, where full tiles would take 576. A side that leaves three over ends in a full tile, cut off.

use std::num::Saturating;
use std::ops::Range;

/// Points that only full tiles have: those of `±√2` (`transform::F4`).
const FULL_ONLY: Range<usize> = 3..5;

/// The tiles of a layer's output, numbered so that those with a given point are contiguous: for all images the short tiles, the
/// full ones, the slim ones, and those that are both.
#[derive(Clone, Copy)]
pub(crate) struct TileGrid {
    /// Outputs along a full tile's side: 4 or 2.
    side: usize,
    pub(super) images: usize,
    /// Input rows and columns.
    pub(super) input: [usize; 2],
    /// Output rows and columns.
    pub(super) output: [usize; 2],
    /// Padding above and to the left.
    pub(super) pads: [usize; 2],
    /// Full tiles along the height and the width.
    full: [usize; 2],
    /// Short tiles along the height and slim ones along the width: 0 or 1.
    cut: [usize; 2],
}

/// Where a tile lies.
pub(super) struct Place {
    pub(super) image: usize,
    /// First row and column of its outputs.
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) short: bool,
    pub(super) slim: bool,
}

/// Products, and places in a map, of a grid at most: sums of a few of them are positions of a pointer, in either direction.
const POSITION_MAX: usize = isize::MAX as usize / 4;

impl TileGrid {
    /// Tiles of `side` (4 or 2) outputs over `images` maps of `output` rows and columns; `None` where they are more than can be counted.
    pub(crate) fn new(
        side: usize,
        images: usize,
        input: [usize; 2],
        output: [usize; 2],
        pads: [usize; 2],
    ) -> Option<Self> {
        let cut = output.map(|size| usize::from(side == 4 && matches!(size % 4, 1 | 2)));
        let full = [0, 1].map(|d| output[d].div_ceil(side) - cut[d]);
        let points = |d: usize| full[d].checked_mul(side + 2)?.checked_add(4 * cut[d]);
        let reach = |d: usize| points(d)?.checked_add(pads[d])?.checked_add(side + 2);
        let products = images.checked_mul(points(0)?)?.checked_mul(points(1)?)?;
        let furthest = reach(0)?.checked_mul(input[1])?.checked_add(reach(1)?)?;
        let counted = products.max(furthest).max(reach(0)?).max(input[0]) <= POSITION_MAX;
        counted.then_some(Self {
            side,
            images,
            input,
            output,
            pads,
            full,
            cut,
        })
    }

    pub(crate) fn side(&self) -> usize {
        self.side
    }

    pub(crate) fn tiles(&self) -> usize {
        self.images * (self.full[0] + self.cut[0]) * (self.full[1] + self.cut[1])
    }

    /// Floats of all maps of `map` rows and columns of `channels` padded channels; `usize::MAX` where they are more than can be counted.
    pub(super) fn len(&self, map: [usize; 2], channels: Saturating<usize>) -> usize {
        (Saturating(self.images) * channels * Saturating(map[0]) * Saturating(map[1])).0
    }

    /// Points of a full tile: `(side + 2)²`.
    pub(crate) fn points(&self) -> usize {
        (self.side + 2) * (self.side + 2)
    }

    /// Products of one pair of channels: points of all tiles.
    pub(crate) fn products(&self) -> usize {
        let along = |d: usize| self.full[d] * (self.side + 2) + self.cut[d] * 4;
        self.images * along(0) * along(1)
    }

    /// Which of `tiles` have a point, counted from the first of them.
    pub(crate) fn span(&self, point: usize, tiles: &Range<usize>) -> Range<usize> {
        let (row, column) = (point / (self.side + 2), point % (self.side + 2));
        let only_full = |at: usize| self.side == 4 && FULL_ONLY.contains(&at);
        let [_, short, full, slim] = self.starts();
        let start = if only_full(row) { short } else { 0 };
        let end = match (only_full(row), only_full(column)) {
            (_, true) => full,
            (true, false) => slim,
            (false, false) => self.tiles(),
        };
        let start = start.clamp(tiles.start, tiles.end);
        start - tiles.start..end.clamp(start, tiles.end) - tiles.start
    }

    /// Where each kind of tile starts: 0, and the ends of the short, the full and the slim ones.
    #[inline(always)]
    fn starts(&self) -> [usize; 4] {
        let short = self.images * self.cut[0] * self.full[1];
        let full = short + self.images * self.full[0] * self.full[1];
        [0, short, full, full + self.images * self.full[0] * self.cut[1]]
    }

    #[inline(always)]
    pub(super) fn place(&self, tile: usize) -> Place {
        let starts = self.starts();
        let kind = starts[1..].iter().filter(|start| tile >= **start).count();
        let (short, slim) = (kind == 0 || kind == 3, kind >= 2);
        let rows = if short { self.cut[0] } else { self.full[0] };
        let columns = if slim { self.cut[1] } else { self.full[1] };
        let (image, rest) = (
            (tile - starts[kind]) / (rows * columns),
            (tile - starts[kind]) % (rows * columns),
        );
        let row = rest / columns + if short { self.full[0] } else { 0 };
        let column = rest % columns + if slim { self.full[1] } else { 0 };
        Place {
            image,
            row: row * self.side,
            column: column * self.side,
            short,
            slim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tiles cover every output once, and the points of all of them are the products.
    #[track_caller]
    fn check(output: [usize; 2], products: usize) {
        let grid = TileGrid::new(4, 2, output, output, [1; 2]).unwrap();
        let mut covered = vec![0; 2 * output[0] * output[1]];
        for tile in 0..grid.tiles() {
            let place = grid.place(tile);
            let height = if place.short { 2 } else { 4 };
            let width = if place.slim { 2 } else { 4 };
            for y in (place.row..place.row + height).filter(|y| *y < output[0]) {
                for x in (place.column..place.column + width).filter(|x| *x < output[1]) {
                    covered[(place.image * output[0] + y) * output[1] + x] += 1;
                }
            }
            for point in 0..36 {
                let has = |cut: bool, at: usize| !cut || !FULL_ONLY.contains(&at);
                let expected = has(place.short, point / 6) && has(place.slim, point % 6);
                assert_eq!(grid.span(point, &(0..grid.tiles())).contains(&tile), expected);
                assert_eq!(!grid.span(point, &(tile..tile + 1)).is_empty(), expected);
            }
        }
        assert!(covered.iter().all(|count| *count == 1), "{output:?}: {covered:?}");
        assert_eq!(grid.products(), 2 * products);
    }

    #[test]
    fn sides_that_leave_one_or_two_over_end_in_tiles_of_two() {
        check([14, 14], 22 * 22);
        check([13, 28], 22 * 42);
        check([28, 9], 42 * 16);
        check([1, 2], 4 * 4);
    }

    #[test]
    fn sides_that_leave_three_over_end_in_full_tiles() {
        check([7, 7], 12 * 12);
        check([3, 5], 6 * 10);
    }
}
