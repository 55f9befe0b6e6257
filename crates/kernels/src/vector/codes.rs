//! Numbers to 8-bit codes.

use super::int8::{Int8Isa, Int8Work, dispatch};
use super::sums::Sums;

/// `round(x / scale) + zero` within u8, ties to even.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Codes {
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

/// A float whose last place is 1, and so for all that differ from it by less than 2^22: added to a number, it rounds that.
const ONES: f32 = 12_582_912.0;
/// Pixels of three channels that are put together at a time.
const BLOCK: usize = 64;

impl Codes {
    /// A number's code; no number's is that of the least one.
    #[inline(always)]
    fn of(self, x: f32) -> u32 {
        let zero = f32::from(self.zero);
        let (steps, least, most) = (x / self.scale, -zero, 255.0 - zero);
        // The order in which vectors compare.
        let steps = if steps > least { steps } else { least };
        let steps = if steps < most { steps } else { most };
        let rounded = (steps + ONES).to_bits().wrapping_sub(ONES.to_bits());
        rounded.wrapping_add(u32::from(self.zero))
    }
}

/// The codes of planes of as many numbers, those of a pixel side by side.
///
/// # Panics
/// Where a plane has more or fewer numbers than `output` has pixels.
pub(crate) fn pixels_of_codes(isa: Int8Isa, codes: Codes, planes: &[&[f32]], output: &mut [u8]) {
    let pixels = output.len() / planes.len().max(1);
    assert!(planes.iter().all(|plane| plane.len() == pixels) && pixels * planes.len() == output.len());
    dispatch(isa, Pixels { codes, planes, output });
}

struct Pixels<'a> {
    codes: Codes,
    planes: &'a [&'a [f32]],
    output: &'a mut [u8],
}

impl Int8Work for Pixels<'_> {
    #[inline(always)]
    unsafe fn run<S: Sums>(self) {
        let Self { codes, planes, output } = self;
        let &[first, second, third] = planes else {
            for (place, plane) in planes.iter().enumerate() {
                for (x, pixel) in plane.iter().zip(output.chunks_exact_mut(planes.len())) {
                    pixel[place] = codes.of(*x) as u8;
                }
            }
            return;
        };
        let planes = first.chunks(BLOCK).zip(second.chunks(BLOCK)).zip(third.chunks(BLOCK));
        for (((first, second), third), output) in planes.zip(output.chunks_mut(3 * BLOCK)) {
            let mut block = [0u32; BLOCK];
            for (((pixel, a), b), c) in block.iter_mut().zip(first).zip(second).zip(third) {
                *pixel = codes.of(*a) | codes.of(*b) << 8 | codes.of(*c) << 16;
            }
            for (i, pixel) in block[..first.len()].iter().enumerate() {
                let bytes = pixel.to_le_bytes();
                // The fourth byte is written over by the next pixel.
                match output.get_mut(3 * i..3 * i + 4) {
                    Some(four) => four.copy_from_slice(&bytes),
                    None => output[3 * i..].copy_from_slice(&bytes[..3]),
                }
            }
        }
    }
}
