//! Winograd's minimal filtering F(4x4,3x3) and F(2x2,3x3) (Lavin and Gray, arXiv 1509.09308): `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`.
//!
//! Input tiles become points (`Bᵀ d B`), each point is a matrix product over the channels, and the products of one panel of output
//! channels go back to pixels at once, while they are in the cache. `vector::transform` has `A` and `B`, [`filter_matrix`] has `G`.

use std::ops::Range;

use super::executor::Executor;
use super::geometry::{Algorithm, Convolution, KernelError, addressable, product};
use super::layer::{Call, Panel};
use super::scratch::{self, Slot};
use super::vector::{self, OutputTiles, Products, SharedOutput, TileGrid};

/// Bytes of transformed input that a block of tiles may take: most of a second-level cache, beside a panel's weights.
const BLOCK_BYTES: usize = 448 << 10;
/// The same where one thread alone reads weights that come from memory: they are read once for more tiles, whose input then comes from
/// the third-level cache.
const BLOCK_BYTES_STREAMED: usize = 2 << 20;
/// Bytes of weights that stay in a cache from one block to the next.
const CACHED_BYTES: usize = 2 << 20;
/// Tiles that make reading a panel's weights worth it.
const TILES_MIN: usize = 16;
/// Tiles beyond which a block gains nothing.
const TILES_MAX: usize = 96;

/// Output channels whose weights are transformed together: the narrowest vector.
const TOGETHER: usize = 8;
/// Points of a tile of F(4x4).
const POINTS_MAX: usize = 36;

fn side(algorithm: Algorithm) -> usize {
    if algorithm == Algorithm::WinogradF2 { 2 } else { 4 }
}

/// `G`: row `i` holds `p^k / Π_{j≠i}(p_i − p_j)` for the points of `vector::transform`, and `[0, 0, 1]` for ∞.
pub(super) fn filter_matrix(algorithm: Algorithm) -> Vec<[f64; 3]> {
    let near = std::f64::consts::FRAC_1_SQRT_2;
    let far = std::f64::consts::SQRT_2;
    let points: &[f64] = match algorithm {
        Algorithm::WinogradF2 => &[0.0, 1.0, -1.0],
        _ => &[0.0, near, -near, far, -far],
    };
    // `vector::transform` negates the row of 0, which saves an operation there.
    let signs: &[f64] = match algorithm {
        Algorithm::WinogradF2 => &[-1.0, 1.0, 1.0],
        _ => &[1.0; 5],
    };
    let mut rows: Vec<[f64; 3]> = Vec::with_capacity(points.len() + 1);
    for (i, &p) in points.iter().enumerate() {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        let scale = signs[i] / others.map(|(_, q)| p - q).product::<f64>();
        rows.push([scale, p * scale, p * p * scale]);
    }
    rows.push([0.0, 0.0, 1.0]);
    rows
}

/// Writes `G g Gᵀ` of `[O, I/groups, 3, 3]` into `[panel][point][channel][vectors · lanes]`.
pub(super) fn pack(
    conv: &Convolution,
    algorithm: Algorithm,
    panels: &[Panel],
    lanes: usize,
    weights: &[f32],
    target: &mut [f32],
) {
    let g = filter_matrix(algorithm);
    let (points, depth) = (g.len() * g.len(), conv.in_channels / conv.groups);
    for panel in panels {
        let width = panel.vectors * lanes;
        let target = &mut target[panel.weights..][..points * depth * width];
        for (k, part) in (0..depth).flat_map(|k| (0..width / TOGETHER).map(move |part| (k, part * TOGETHER))) {
            let first = panel.block * lanes + part;
            let mut taps = [[0.0; TOGETHER]; 9];
            for out in 0..TOGETHER.min(conv.out_channels.saturating_sub(first)) {
                let filter = &weights[((first + out) * depth + k) * 9..][..9];
                for (tap, value) in taps.iter_mut().zip(filter) {
                    tap[out] = f64::from(*value);
                }
            }
            for (i, left) in g.iter().enumerate() {
                let row: [_; 3] = std::array::from_fn(|c| combined(left, [&taps[c], &taps[3 + c], &taps[6 + c]]));
                for (j, right) in g.iter().enumerate() {
                    let at = ((i * g.len() + j) * depth + k) * width + part;
                    let values = combined(right, row.each_ref());
                    for (to, value) in target[at..][..TOGETHER].iter_mut().zip(values) {
                        *to = value as f32;
                    }
                }
            }
        }
    }
}

/// `Σ factors[i] · terms[i]`, for each of some output channels.
fn combined(factors: &[f64; 3], terms: [&[f64; TOGETHER]; 3]) -> [f64; TOGETHER] {
    std::array::from_fn(|out| factors[0] * terms[0][out] + factors[1] * terms[1][out] + factors[2] * terms[2][out])
}

/// A stride that is an odd count of cache lines, so that the points of one tile fall into different cache sets.
fn odd_lines(floats: usize) -> usize {
    (floats.div_ceil(16) | 1) * 16
}

/// # Errors
/// Where the tiles, or the space for their points, are more than can be counted.
pub(super) fn run(call: &Call<'_>, executor: &dyn Executor) -> Result<(), KernelError> {
    let plan = TilePlan::new(call, executor.threads())?;
    if plan.shared {
        plan.run_shared(executor);
        return Ok(());
    }
    let tasks = plan.grid.tiles().div_ceil(plan.block);
    executor.run(tasks, &|task| {
        let tiles = task * plan.block..((task + 1) * plan.block).min(plan.grid.tiles());
        scratch::with(Slot::Input, plan.points * plan.input_plane, |points| {
            plan.transform(tiles.clone(), SharedOutput::new(points), 0);
            plan.multiply(tiles.clone(), tiles.start, points, 0..call.layer.panels.len());
        });
    });
    Ok(())
}

struct TilePlan<'a> {
    call: &'a Call<'a>,
    grid: TileGrid,
    points: usize,
    /// Tiles that are transformed together.
    block: usize,
    /// Whether all threads work on one block: they divide its transform by tiles, then its products by panels and tiles.
    shared: bool,
    input_row: usize,
    input_plane: usize,
}

impl<'a> TilePlan<'a> {
    fn new(call: &'a Call<'a>, threads: usize) -> Result<Self, KernelError> {
        let (conv, side) = (&call.layer.conv, side(call.layer.algorithm));
        let grid = TileGrid::new(
            side,
            call.extent.images,
            [call.extent.height, call.extent.width],
            [call.out_size.0, call.out_size.1],
            [conv.pads[0], conv.pads[1]],
        )
        .ok_or(KernelError::TooLarge)?;
        let lanes = call.layer.isa.lanes();
        let input_row = conv.in_channels.div_ceil(lanes) * lanes;
        let points = grid.points();
        let streamed = threads == 1 && call.layer.bytes() > CACHED_BYTES;
        let bytes = if streamed { BLOCK_BYTES_STREAMED } else { BLOCK_BYTES };
        let fitting = bytes / product([points, input_row, size_of::<f32>()]);
        let most = fitting.clamp(TILES_MIN, TILES_MAX);
        let blocks = grid.tiles().div_ceil(most).next_multiple_of(threads);
        let few = grid.tiles() < TILES_MIN * threads || call.layer.bytes() > CACHED_BYTES;
        let shared = threads > 1 && few && grid.tiles() <= 4 * most;
        let block = if shared {
            grid.tiles()
        } else {
            grid.tiles().div_ceil(blocks)
        };
        // Of a block's points, and of a panel's products of them.
        let tile_floats = input_row.max(3 * lanes);
        let plane = product([block, tile_floats]).saturating_add(odd_lines(0) * 2);
        addressable(product([points, plane]), size_of::<f32>())?;
        Ok(Self {
            call,
            grid,
            points,
            block,
            shared,
            input_row,
            input_plane: odd_lines(block * input_row),
        })
    }

    fn run_shared(&self, executor: &dyn Executor) {
        let (tiles, threads) = (self.grid.tiles(), executor.threads());
        let part = |i: usize, parts: usize| i * tiles / parts..(i + 1) * tiles / parts;
        let panels = self.call.layer.panels.len();
        // Panels alone may leave a thread idle at the end.
        let cuts = if panels.is_multiple_of(threads) {
            1
        } else {
            threads.min(tiles.div_ceil(TILES_MIN))
        };
        let groups = (4 * threads).min(panels);
        scratch::with(Slot::Input, self.points * self.input_plane, |points| {
            let target = SharedOutput::new(points);
            executor.run(threads.min(tiles), &|task| {
                let tiles = part(task, threads.min(tiles));
                self.transform(tiles.clone(), target, tiles.start);
            });
            let points = &*points;
            executor.run(groups * cuts, &|task| {
                let group = task / cuts;
                let panels = group * panels / groups..(group + 1) * panels / groups;
                self.multiply(part(task % cuts, cuts), 0, points, panels);
            });
        });
    }

    /// Writes the points of `tiles` into `target` as those of the tiles from `first` on.
    fn transform(&self, tiles: Range<usize>, target: SharedOutput<'_>, first: usize) {
        let layer = self.call.layer;
        let blocks = self.input_row / layer.isa.lanes();
        let (plane, row) = (self.input_plane, self.input_row);
        vector::input_tiles(
            layer.isa,
            &self.grid,
            self.call.input,
            blocks,
            tiles,
            target,
            first,
            plane,
            row,
        );
    }

    /// The outputs of `tiles` and `panels`; `points` are those of the tiles from `first` on.
    fn multiply(&self, tiles: Range<usize>, first: usize, points: &[f32], panels: Range<usize>) {
        let layer = self.call.layer;
        let points = &points[(tiles.start - first) * self.input_row..];
        let lanes = layer.isa.lanes();
        let output_plane = odd_lines(tiles.len() * 3 * lanes);
        let spans: [Range<usize>; POINTS_MAX] = std::array::from_fn(|point| self.grid.span(point, &tiles));
        scratch::with(Slot::Products, self.points * output_plane, |products| {
            for panel in &layer.panels[panels] {
                vector::products(
                    layer.isa,
                    Products {
                        input: &points[panel.channel..],
                        input_plane: self.input_plane,
                        input_row: self.input_row,
                        weights: &layer.weights[panel.weights..],
                        output: products,
                        output_plane,
                        spans: &spans[..self.points],
                        tiles: tiles.len(),
                        depth: layer.conv.in_channels / layer.conv.groups,
                        vectors: panel.vectors,
                    },
                );
                vector::output_tiles(
                    layer.isa,
                    OutputTiles {
                        grid: &self.grid,
                        products,
                        plane: output_plane,
                        tiles: tiles.clone(),
                        block: panel.block,
                        vectors: panel.vectors,
                        blocks: layer.bias.len() / lanes,
                        bias: &layer.bias,
                        residual: self.call.residual,
                        relu: layer.conv.relu,
                        output: self.call.output,
                    },
                );
            }
        });
    }
}
