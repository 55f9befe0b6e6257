//! Which algorithm a layer gets: a model of the work, so that every machine of a kind decides alike, without measuring.

use std::num::Saturating;

use super::geometry::{Algorithm, Convolution, SourceLayout, product, supports};
use super::vector::{Isa, TileGrid};

/// Work of one algorithm at a tile beside its products: what its two transforms cost a vector of channels, in vector multiply-adds.
struct Tile {
    side: usize,
    input: usize,
    output: usize,
}

const F4: Tile = Tile {
    side: 4,
    input: 150,
    output: 110,
};
const F2: Tile = Tile {
    side: 2,
    input: 44,
    output: 30,
};

/// Bytes of weights that come from memory in the time of one vector multiply-add, where they come while others are in use.
const WEIGHT_BYTES: usize = 6;

/// The algorithm with the least work for an input of `size` rows and columns; `None` where none computes the layer.
pub fn fastest(conv: &Convolution, layout: SourceLayout, isa: Isa, size: [usize; 2]) -> Option<Algorithm> {
    let (height, width) = conv.output_size(size[0], size[1])?;
    [Algorithm::WinogradF4, Algorithm::WinogradF2, Algorithm::Direct]
        .into_iter()
        .filter(|a| supports(conv, *a, layout, isa).is_ok())
        .filter_map(|a| Some((work(conv, a, isa.lanes(), [height, width])?, a)))
        .min_by_key(|(work, _)| *work)
        .map(|(_, algorithm)| algorithm)
}

/// Work for one image, in vector multiply-adds; `None` where its tiles cannot be counted.
fn work(conv: &Convolution, algorithm: Algorithm, lanes: usize, [height, width]: [usize; 2]) -> Option<usize> {
    let (inputs, outputs) = (conv.in_channels.div_ceil(lanes), conv.out_channels.div_ceil(lanes));
    let depth = conv.in_channels / conv.groups;
    let weights = |points| Saturating(product([points, depth, outputs, lanes, size_of::<f32>()]) / WEIGHT_BYTES);
    let tile = match algorithm {
        Algorithm::WinogradF4 => F4,
        Algorithm::WinogradF2 => F2,
        Algorithm::Direct => {
            let taps = product(conv.kernel);
            let products = Saturating(product([height, width, taps, depth, outputs]));
            return Some((products + weights(taps)).0);
        }
    };
    let grid = TileGrid::new(tile.side, 1, [height, width], [height, width], [0; 2])?;
    let products = Saturating(product([grid.products(), depth, outputs]));
    let transforms = Saturating(product([tile.input, inputs])) + Saturating(product([tile.output, outputs]));
    Some((products + Saturating(grid.tiles()) * transforms + weights(grid.points())).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(channels: [usize; 2], side: usize, stride: usize, expected: Algorithm) {
        let conv = Convolution {
            in_channels: channels[0],
            out_channels: channels[1],
            groups: 1,
            kernel: [3, 3],
            strides: [stride; 2],
            pads: [1; 4],
            relu: true,
        };
        let isa = Isa::portable();
        assert_eq!(fastest(&conv, SourceLayout::Blocked, isa, [side; 2]), Some(expected));
    }

    #[test]
    fn large_maps_take_large_tiles_and_what_winograd_cannot_do_is_direct() {
        check([48, 48], 56, 1, Algorithm::WinogradF4);
        check([192, 192], 14, 1, Algorithm::WinogradF4);
        check([192, 1280], 14, 2, Algorithm::Direct);
    }

    #[test]
    fn a_map_of_one_small_tile_is_not_paid_for_as_a_large_one() {
        check([64, 64], 4, 1, Algorithm::WinogradF2);
        check([64, 64], 2, 1, Algorithm::Direct);
    }
}
