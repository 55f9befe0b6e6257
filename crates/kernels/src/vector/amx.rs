//! Sums of int8 products in AMX's tiles, up to sixteen pixels, sixteen output channels and 64 input channels an instruction (Intel, "Architecture Instruction
//! Set Extensions Programming Reference", chapter 3).
//!
//! A panel's weights lie as a tile wants them: a row has four input channels of each of sixteen output channels. Sums leave the tiles through memory, and the
//! vectors of AVX-512 bring them into outputs. The compiler knows no tiles, so instructions are written out; between two of them it
//! touches none.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::mem::MaybeUninit;
use std::sync::LazyLock;

use super::int8::{Int8Band, Int8Work};
use super::sums::{Int8Output, LANES, Sums, TOGETHER, VECTORS};

/// Pixels of a tile of sums.
const PIXELS: usize = 16;
/// Bytes of a tile's row: so many input channels of a pixel.
const CHANNELS: usize = 64;
/// With fewer pixels in a row than this, or fewer input channels, vectors alone are as fast.
const PIXELS_MIN: usize = 4;
const CHANNELS_MIN: usize = 32;

/// Whether the processor has the instructions and the system lets this process use them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_instructions() && is_permitted());
    *AVAILABLE
}

#[allow(unused_unsafe, reason = "asking the processor is safe in newer compilers only")]
fn has_instructions() -> bool {
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    // SAFETY: every x86-64 processor has the instruction.
    let (last, features) = unsafe { (__cpuid(0).eax, __cpuid_count(7, 0).edx) };
    last >= 7 && features & (TILES | INT8) == TILES | INT8
}

/// Linux saves the tiles' registers for processes that have asked for it.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call reads its two numbers alone.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Whether tiles compute a band, of at least one row, column, input and output channel, faster than vectors.
pub(super) fn suits<T>(band: &Int8Band<'_, T>) -> bool {
    let depth = band.channels.1;
    band.panel.out_size.1 >= PIXELS_MIN && depth >= CHANNELS_MIN && band.finer.is_multiple_of(depth)
}

/// A band that [`suits`], whose extents are checked.
pub(super) struct TileBand<'a, T>(pub(super) Int8Band<'a, T>);

/// Sums of a panel: `[vectors][PIXELS][LANES]`.
#[repr(C, align(64))]
struct SumsInMemory(MaybeUninit<[i32; VECTORS * PIXELS * LANES]>);

impl SumsInMemory {
    const NONE: Self = Self(MaybeUninit::uninit());

    #[inline(always)]
    fn at(&mut self, vector: usize, pixel: usize) -> *mut i32 {
        debug_assert!(vector < VECTORS && pixel < PIXELS);
        self.0
            .as_mut_ptr()
            .cast::<i32>()
            .wrapping_add((vector * PIXELS + pixel) * LANES)
    }
}

/// How large the tiles are: 0 to 3 are sums, 4 and 5 inputs, 6 and 7 weights, of whole rows and of what remains of the input channels.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    fn new(pixels: usize, remaining: usize) -> Self {
        let mut shapes = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let tiles = [
            ([0, 1, 2, 3], pixels, LANES * size_of::<i32>()),
            ([4; 4], pixels, CHANNELS),
            ([5; 4], pixels, remaining),
            ([6; 4], CHANNELS / TOGETHER, LANES * TOGETHER),
            ([7; 4], remaining / TOGETHER, LANES * TOGETHER),
        ];
        for (numbers, rows, bytes) in tiles {
            for number in numbers.into_iter().filter(|_| rows > 0 && bytes > 0) {
                shapes.rows[number] = rows as u8;
                shapes.row_bytes[number] = bytes as u16;
            }
        }
        shapes
    }

    /// The thread's tiles have these shapes, and hold zeros.
    #[inline(always)]
    unsafe fn load(&self) {
        unsafe { asm!("ldtilecfg [{}]", in(reg) std::ptr::from_ref(self), options(nostack, readonly, preserves_flags)) }
    }
}

/// `tile = bytes at $at, a row every $stride`.
macro_rules! load {
    ($tile:literal, $at:expr, $stride:expr) => {
        asm!(
            concat!("tileloadd tmm", $tile, ", [{at} + {stride}*1]"),
            at = in(reg) $at, stride = in(reg) $stride, options(nostack, readonly, preserves_flags)
        )
    };
}

/// The sums of vector `$v`, a constant below four, gain the products of the inputs and of the weights at `$at`.
macro_rules! dot {
    ($v:expr, $inputs:literal, $weights:literal, $at:expr, $stride:expr) => {
        match $v {
            0 => dot!(@ "0", $inputs, $weights, $at, $stride),
            1 => dot!(@ "1", $inputs, $weights, $at, $stride),
            2 => dot!(@ "2", $inputs, $weights, $at, $stride),
            _ => dot!(@ "3", $inputs, $weights, $at, $stride),
        }
    };
    (@ $sums:literal, $inputs:literal, $weights:literal, $at:expr, $stride:expr) => {
        asm!(
            concat!("tileloadd tmm", $weights, ", [{at} + {stride}*1]"),
            concat!("tdpbusd tmm", $sums, ", tmm", $inputs, ", tmm", $weights),
            at = in(reg) $at, stride = in(reg) $stride, options(nostack, readonly, preserves_flags)
        )
    };
}

/// The sums of vector `$v` are those at `$at`, a pixel every `$stride` bytes.
macro_rules! begin {
    ($v:expr, $at:expr, $stride:expr) => {
        match $v {
            0 => load!("0", $at, $stride),
            1 => load!("1", $at, $stride),
            2 => load!("2", $at, $stride),
            _ => load!("3", $at, $stride),
        }
    };
}

/// Writes the sums of vector `$v` to `$at`.
macro_rules! end {
    ($v:expr, $at:expr) => {
        match $v {
            0 => end!(@ "0", $at),
            1 => end!(@ "1", $at),
            2 => end!(@ "2", $at),
            _ => end!(@ "3", $at),
        }
    };
    (@ $sums:literal, $at:expr) => {
        asm!(
            concat!("tilestored [{at} + {stride}*1], tmm", $sums),
            at = in(reg) $at, stride = in(reg) LANES * size_of::<i32>(), options(nostack, preserves_flags)
        )
    };
}

impl<T: Int8Output> Int8Work for TileBand<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Sums>(self) {
        // SAFETY: the extents are checked, and the set of instructions is there where there is such a band.
        unsafe {
            match self.0.panel.vectors() {
                1 => self.all::<S, 1>(),
                2 => self.all::<S, 2>(),
                3 => self.all::<S, 3>(),
                _ => self.all::<S, 4>(),
            }
        }
    }
}

impl<T: Int8Output> TileBand<'_, T> {
    #[inline(always)]
    unsafe fn all<S: Sums, const C: usize>(&self) {
        let panel = &self.0.panel;
        let width = panel.out_size.1;
        let most = width.div_ceil(width.div_ceil(PIXELS));
        let mut memory = [SumsInMemory::NONE, SumsInMemory::NONE];
        let mut shaped = 0;
        for row in 0..panel.rows.1 {
            let mut x = 0;
            while x < width {
                let pixels = most.min(width - x);
                // SAFETY: the caller's; `x + pixels <= width`, and the tiles have as many rows.
                unsafe {
                    if shaped != pixels {
                        Shapes::new(pixels, self.0.channels.1 % CHANNELS).load();
                        shaped = pixels;
                    }
                    self.pixels::<S, C>(row, [x, pixels], &mut memory);
                }
                x += pixels;
            }
        }
        // SAFETY: no tile is read from here on. Tiles that hold nothing are not saved when threads change.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }

    /// `pixels` neighbouring pixels of `C` vectors of output channels.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const C: usize>(
        &self,
        row: usize,
        [x, pixels]: [usize; 2],
        [memory, finer]: &mut [SumsInMemory; 2],
    ) {
        static ZEROS: [i32; LANES] = [0; LANES];
        let band = &self.0;
        let panel = &band.panel;
        let step = panel.strides[1].wrapping_mul(panel.input_pixel);
        let corner = row * panel.strides[0] * panel.input_row + x * step;
        let depth = band.channels.1;
        unsafe {
            if band.finer > 0 {
                for v in 0..C {
                    begin!(v, ZEROS.as_ptr(), 0usize);
                }
                for k in (0..band.finer).step_by(depth) {
                    self.add_products::<C>(corner + k, step, k * C * LANES, pixels);
                }
                for v in 0..C {
                    end!(v, finer.at(v, 0));
                }
            }
            for v in 0..C {
                begin!(v, panel.bias.as_ptr().add(v * LANES), 0usize);
            }
            let mut weights = band.finer * C * LANES;
            for ky in 0..panel.kernel[0] {
                for kx in 0..panel.kernel[1] {
                    let tap = corner + band.channels.0 + ky * panel.input_row + kx * panel.input_pixel;
                    self.add_products::<C>(tap, step, weights, pixels);
                    weights += depth * C * LANES;
                }
            }
            for v in 0..C {
                end!(v, memory.at(v, 0));
            }
            for r in 0..pixels {
                let mut sums = [S::load(memory.at(0, r)); C];
                for v in 0..C {
                    sums[v] = if band.finer > 0 {
                        S::load(finer.at(v, r)).over_256(memory.at(v, r))
                    } else {
                        S::load(memory.at(v, r))
                    };
                }
                panel.write(row, x + r, [sums]);
            }
        }
    }

    /// Adds the products of the channels from `input` on, of pixels `step` bytes apart, with the weights from `weights` on.
    #[inline(always)]
    unsafe fn add_products<const C: usize>(&self, input: usize, step: usize, weights: usize, pixels: usize) {
        let panel = &self.0.panel;
        let depth = self.0.channels.1;
        debug_assert!(input + (pixels - 1) * step + depth <= panel.input.len());
        debug_assert!(weights + depth * C * LANES <= panel.weights.len());
        let row = C * LANES * TOGETHER;
        unsafe {
            let (input, weights) = (panel.input.as_ptr().add(input), panel.weights.as_ptr().add(weights));
            // Of up to `CHANNELS` channels, in the tiles of that many.
            macro_rules! block {
                ($first:expr, $inputs:literal, $weights:literal) => {
                    load!($inputs, input.add($first), step);
                    for v in 0..C {
                        dot!(
                            v,
                            $inputs,
                            $weights,
                            weights.add(($first * C + v * TOGETHER) * LANES),
                            row
                        );
                    }
                };
            }
            let remaining = depth % CHANNELS;
            for first in (0..depth - remaining).step_by(CHANNELS) {
                block!(first, "4", "6");
            }
            if remaining > 0 {
                block!(depth - remaining, "5", "7");
            }
        }
    }
}
