//! NCHW to blocked and back, and the one reduction that reads blocked activations at the end of a chain.

/// The extent of one activation tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Images.
    pub images: usize,
    /// Channels, without padding.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Extent {
    /// Pixels of one channel of one image. This and the other lengths are `usize::MAX`, which is no slice's length, where there are
    /// more than can be counted.
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Floats as NCHW.
    pub fn len_nchw(&self) -> usize {
        self.images.saturating_mul(self.channels).saturating_mul(self.pixels())
    }

    /// Floats in blocks of `lanes` channels, padding included.
    pub fn len_blocked(&self, lanes: usize) -> usize {
        let padded = self.channels.div_ceil(lanes).saturating_mul(lanes);
        self.images.saturating_mul(padded).saturating_mul(self.pixels())
    }
}

/// Copies `[N, C, H, W]` into `[N, ⌈C/lanes⌉, H, W, lanes]`; channels that do not exist become 0.
///
/// # Panics
/// When a slice is shorter than `extent` says.
pub fn to_blocked(source: &[f32], extent: Extent, lanes: usize, target: &mut [f32]) {
    match lanes {
        16 => to_blocked_by::<16>(source, extent, target),
        _ => to_blocked_by::<8>(source, extent, target),
    }
}

/// Copies `[N, ⌈C/lanes⌉, H, W, lanes]` into `[N, C, H, W]`.
///
/// # Panics
/// When a slice is shorter than `extent` says.
pub fn from_blocked(source: &[f32], extent: Extent, lanes: usize, target: &mut [f32]) {
    match lanes {
        16 => from_blocked_by::<16>(source, extent, target),
        _ => from_blocked_by::<8>(source, extent, target),
    }
}

/// The mean of every channel of a blocked tensor: `[N, ⌈C/lanes⌉, H, W, lanes]` to `[N, C]`.
///
/// # Panics
/// When a slice is shorter than `extent` says.
pub fn mean_of_blocked(source: &[f32], extent: Extent, lanes: usize, target: &mut [f32]) {
    match lanes {
        16 => mean_by::<16>(source, extent, target),
        _ => mean_by::<8>(source, extent, target),
    }
}

const PIXELS_AT_ONCE: usize = 8;

fn to_blocked_by<const B: usize>(source: &[f32], extent: Extent, target: &mut [f32]) {
    let pixels = extent.pixels();
    let source = &source[..extent.len_nchw()];
    let (target, _) = target[..extent.len_blocked(B)].as_chunks_mut::<B>();
    if pixels == 0 || extent.channels == 0 {
        return;
    }
    let blocks = extent.channels.div_ceil(B);
    for (index, block) in target.chunks_exact_mut(pixels).enumerate() {
        let (image, first) = (index / blocks, index % blocks * B);
        let real = B.min(extent.channels - first);
        let planes = &source[(image * extent.channels + first) * pixels..][..real * pixels];
        for (run, out) in block.chunks_mut(PIXELS_AT_ONCE).enumerate() {
            let mut lanes = [[0.0; PIXELS_AT_ONCE]; B];
            for (lane, plane) in lanes.iter_mut().zip(planes.chunks_exact(pixels)) {
                let from = &plane[run * PIXELS_AT_ONCE..][..out.len()];
                lane[..from.len()].copy_from_slice(from);
            }
            for (p, out) in out.iter_mut().enumerate() {
                *out = std::array::from_fn(|lane| lanes[lane][p]);
            }
        }
    }
}

fn from_blocked_by<const B: usize>(source: &[f32], extent: Extent, target: &mut [f32]) {
    let pixels = extent.pixels();
    let (source, _) = source[..extent.len_blocked(B)].as_chunks::<B>();
    let target = &mut target[..extent.len_nchw()];
    if pixels == 0 || extent.channels == 0 {
        return;
    }
    let blocks = extent.channels.div_ceil(B);
    for (index, block) in source.chunks_exact(pixels).enumerate() {
        let (image, first) = (index / blocks, index % blocks * B);
        let real = B.min(extent.channels - first);
        let planes = &mut target[(image * extent.channels + first) * pixels..][..real * pixels];
        for (run, from) in block.chunks(PIXELS_AT_ONCE).enumerate() {
            for (lane, plane) in planes.chunks_exact_mut(pixels).enumerate() {
                let out = &mut plane[run * PIXELS_AT_ONCE..][..from.len()];
                for (out, from) in out.iter_mut().zip(from) {
                    *out = from[lane];
                }
            }
        }
    }
}

fn mean_by<const B: usize>(source: &[f32], extent: Extent, target: &mut [f32]) {
    let pixels = extent.pixels();
    let (source, _) = source[..extent.len_blocked(B)].as_chunks::<B>();
    let target = &mut target[..extent.images.saturating_mul(extent.channels)];
    if pixels == 0 || extent.channels == 0 {
        target.fill(0.0);
        return;
    }
    let blocks = extent.channels.div_ceil(B);
    for (index, block) in source.chunks_exact(pixels).enumerate() {
        let (image, first) = (index / blocks, index % blocks * B);
        let mut sum = [0.0; B];
        for pixel in block {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        let real = B.min(extent.channels - first);
        let out = &mut target[image * extent.channels + first..][..real];
        for (out, sum) in out.iter_mut().zip(sum) {
            *out = sum / pixels as f32;
        }
    }
}
