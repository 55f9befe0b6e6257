//! What guards the loops without bounds checks refuses extents that are more than can be counted: it does not wrap round to a small number.

use std::num::Saturating;

use proptest::prelude::*;

use super::gemm::Products;
use super::grid::TileGrid;
use super::int8::Int8Band;
use super::pixels::Band;
use super::tiles::{InputTiles, OutputTiles};
use super::*;

const LANES: usize = 8;
/// Values in every slice.
const LEN: usize = 4096;
static FLOATS: [f32; LEN] = [0.0; LEN];
static INPUTS: [u8; LEN] = [0; LEN];
static WEIGHTS: [i8; LEN] = [0; LEN];
static BIAS: [i32; LEN] = [0; LEN];

/// Small ones, those around the largest that can be counted or addressed, and powers of two, whose products are 0 when they wrap.
fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 1usize..5,
        1 => (0usize..4).prop_map(|less| usize::MAX - less),
        1 => (0usize..4).prop_map(|less| isize::MAX as usize - less),
        1 => (6u32..usize::BITS).prop_map(|power| 1usize << power),
        1 => any::<usize>(),
    ]
}

fn extents<const N: usize>() -> impl Strategy<Value = [usize; N]> {
    std::array::from_fn(|_| extent())
}

/// A count in integers that hold sums of a few products of it.
fn big(value: usize) -> Saturating<u128> {
    Saturating(value as u128)
}

fn in_slice(count: Saturating<u128>) -> bool {
    count.0 <= LEN as u128
}

fn ends_within(first: usize, count: usize, all: usize) -> bool {
    first as u128 + count as u128 <= all as u128
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn products_are_counted(
        [points, tiles, depth, vectors, input_plane, input_row, output_plane] in extents::<7>(),
    ) {
        let points = points.min(4);
        let mut output = vec![0.0; LEN];
        let spans = vec![0..tiles; points];
        let work = Products {
            input: &FLOATS,
            input_plane,
            input_row,
            weights: &FLOATS,
            output: &mut output,
            output_plane,
            spans: &spans,
            tiles,
            depth,
            vectors,
        };
        let width = big(vectors) * big(LANES);
        let expected = vectors <= 3
            && in_slice(big(points - 1) * big(input_plane) + big(tiles - 1) * big(input_row) + big(depth))
            && in_slice(big(points) * big(depth) * width)
            && in_slice(big(points - 1) * big(output_plane) + big(tiles) * width);
        prop_assert_eq!(work.fits(LANES), expected);
    }

    #[test]
    fn bands_are_counted(
        [first, rows, height, width, kh, kw, sh, sw] in extents::<8>(),
        [channel, channels, input_block, input_row, block, vectors, blocks, image] in extents::<8>(),
        blocked in any::<bool>(),
    ) {
        let (first, input_lanes) = (first - 1, if blocked { LANES } else { 1 });
        let mut output = vec![0.0; LEN];
        let work = Band {
            input: &FLOATS,
            input_block,
            input_row,
            input_lanes,
            channels: (channel, channels),
            kernel: [kh, kw],
            strides: [sh, sw],
            weights: &FLOATS,
            turn: (0, 1),
            bias: &FLOATS,
            residual: Some(&FLOATS),
            relu: false,
            output: SharedOutput::new(&mut output),
            block,
            vectors,
            blocks,
            image,
            rows: (first, rows),
            out_size: (height, width),
        };
        let last = channel as u128 + channels as u128 - 1;
        let lanes = input_lanes as u128;
        let input = Saturating(last / lanes) * big(input_block)
            + (big(rows - 1) * big(sh) + big(kh - 1)) * big(input_row)
            + (big(width - 1) * big(sw) + big(kw - 1)) * big(input_lanes)
            + Saturating(last % lanes);
        let floats = (big(image) + big(1)) * big(blocks) * big(height) * big(width) * big(LANES);
        let expected = vectors <= 3
            && channel.is_multiple_of(input_lanes)
            && ends_within(first, rows, height)
            && ends_within(block, vectors, blocks)
            && in_slice(input + big(1))
            && in_slice(big(channels) * big(kh) * big(kw) * big(vectors) * big(LANES))
            && in_slice(big(blocks) * big(LANES))
            && in_slice(floats);
        prop_assert_eq!(work.fits(LANES), expected);
    }

    #[test]
    fn bands_of_codes_are_counted(
        [first, rows, height, width, kh, kw, sh, sw] in extents::<8>(),
        [channel, channels, input_row, input_pixel, out, out_more, out_channels, image] in extents::<8>(),
        [out_row] in extents::<1>(),
    ) {
        let (first, channels) = (first - 1, channels & !3 | 4);
        let out = out - 1..out.saturating_add(out_more - 1);
        let mut output = vec![0u8; LEN];
        let panel = PanelRows {
            input: &INPUTS,
            input_row,
            input_pixel,
            kernel: [kh, kw],
            strides: [sh, sw],
            weights: &WEIGHTS,
            bias: &BIAS,
            scale: &FLOATS,
            zero: 0,
            residual: None,
            output: SharedOutput::new(&mut output),
            out_channels,
            out: out.clone(),
            image,
            rows: (first, rows),
            out_size: (height, width),
            out_row,
        };
        let work = Int8Band {
            finer: 0,
            panel,
            channels: (channel, channels),
        };
        let input = (big(rows - 1) * big(sh) + big(kh - 1)) * big(input_row)
            + (big(width - 1) * big(sw) + big(kw - 1)) * big(input_pixel)
            + big(channel)
            + big(channels);
        let vectors = out.len().div_ceil(INT8_LANES);
        let expected = (1..=4).contains(&vectors)
            && out.end <= out_channels
            && ends_within(first, rows, height)
            && in_slice(input)
            && in_slice(big(channels) * big(kh) * big(kw) * big(vectors) * big(INT8_LANES))
            && width <= out_row
            && in_slice((((big(image) + big(1)) * big(height) - big(1)) * big(out_row) + big(width)) * big(out_channels));
        prop_assert_eq!(work.fits(), expected);
    }

    #[test]
    fn tiles_are_counted(
        [images, height, width, pad, blocks, block, vectors, plane] in extents::<8>(),
        [first, row, rows, columns] in extents::<4>(),
        side in prop_oneof![Just(2usize), Just(4)],
    ) {
        let made = TileGrid::new(side, images, [rows, columns], [height, width], [pad; 2]);
        let points = |size: usize| big(size.div_ceil(side)) * big(side + 2);
        let Some(grid) = made else {
            let reach = |size: usize| points(size) + big(pad) + big(side + 2);
            let furthest = (reach(height) + big(rows)) * big(columns) + reach(width);
            let least = (big(images) * points(height) * points(width)).max(furthest);
            prop_assert!(least.0 > isize::MAX as u128 / 8, "small extents are counted");
            return Ok(());
        };
        let tiles = big(images) * big(height.div_ceil(side)) * big(width.div_ceil(side));
        prop_assert_eq!(grid.tiles() as u128, tiles.0);
        let taken = grid.tiles().min(3);
        let mut output = vec![0.0; LEN];
        let last_point = big(grid.points() - 1) * big(plane);
        let channels = big(blocks) * big(LANES);
        let input = InputTiles {
            grid: &grid,
            source: &FLOATS,
            blocks,
            tiles: 0..taken,
            target: SharedOutput::new(&mut output),
            first,
            plane,
            row,
        };
        let expected = in_slice(big(images) * channels * big(rows) * big(columns))
            && in_slice(last_point + (big(first) + big(taken - 1)) * big(row) + channels);
        prop_assert_eq!(input.fits(LANES), expected);
        let work = OutputTiles {
            grid: &grid,
            products: &FLOATS,
            plane,
            tiles: 0..taken,
            block,
            vectors,
            blocks,
            bias: &FLOATS,
            residual: None,
            relu: false,
            output: SharedOutput::new(&mut output),
        };
        let expected = ends_within(block, vectors, blocks)
            && in_slice(last_point + big(taken) * big(vectors) * big(LANES))
            && in_slice(channels)
            && in_slice(big(images) * channels * big(height) * big(width));
        prop_assert_eq!(work.fits(LANES), expected);
    }
}

#[test]
#[should_panic(expected = "capacity overflow")]
fn a_buffer_of_more_bytes_than_can_be_counted_is_refused() {
    drop(Buffer::<f32>::zeroed((usize::MAX >> 2) + 2));
}
