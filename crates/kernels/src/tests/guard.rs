//! Slices that end, or begin, where memory that must not be touched does: a read or write beside them ends the process.
#![cfg(target_os = "linux")]
// mmap and mprotect are the only way to memory that faults; the slices live as long as the mapping that owns them.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};

use super::super::layout::{self, Extent};
use super::super::*;
use super::case::{Backwards, Case};
use super::{ALGORITHMS, sets};

const PAGE: usize = 4096;

/// Numbers between two pages that fault.
pub(super) struct Guarded<T = f32> {
    pages: *mut libc::c_void,
    bytes: usize,
    start: *mut T,
    len: usize,
}

impl<T: Copy> Guarded<T> {
    /// `values`, up against the page behind them or the one before.
    pub(super) fn new(values: &[T], at_end: bool) -> Self {
        let inner = size_of_val(values).div_ceil(PAGE).max(1) * PAGE;
        let bytes = inner + 2 * PAGE;
        // SAFETY: a fresh private mapping; only the pages between the outer two are made accessible, and `start` lies in them.
        let (pages, start) = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let pages = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            let open = pages.byte_add(PAGE);
            assert_eq!(libc::mprotect(open, inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            let offset = if at_end { inner - size_of_val(values) } else { 0 };
            (pages, open.byte_add(offset).cast::<T>())
        };
        let mut guarded = Self {
            pages,
            bytes,
            start,
            len: values.len(),
        };
        guarded.copy_from_slice(values);
        guarded
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` made `len` numbers accessible there; anonymous memory is zeroed.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length.
        unsafe { libc::munmap(self.pages, self.bytes) };
    }
}

/// Runs the case with its slices between guards; the output must be that of ordinary slices, to the bit.
fn check(case: &Case, at_end: bool) {
    let out = case.out_extent();
    for isa in sets() {
        let lanes = isa.lanes();
        let blocked = |values: &[f32], extent: Extent| {
            let mut target = Guarded::new(&vec![0.0; extent.len_blocked(lanes)], at_end);
            layout::to_blocked(&Guarded::new(values, at_end), extent, lanes, &mut target);
            target
        };
        let residual = case.residual.as_ref().map(|r| blocked(r, out));
        for algorithm in ALGORITHMS {
            for layout in [SourceLayout::Blocked, SourceLayout::Nchw] {
                let (weights, bias) = (Guarded::new(&case.weights, at_end), Guarded::new(&case.bias, at_end));
                let Ok(layer) = PreparedConv::new(case.conv, algorithm, layout, isa, &weights, Some(&bias)) else {
                    continue;
                };
                let input = match layout {
                    SourceLayout::Blocked => blocked(&case.input, case.in_extent()),
                    SourceLayout::Nchw => Guarded::new(&case.input, at_end),
                };
                let mut output = Guarded::new(&vec![0.0; out.len_blocked(lanes)], at_end);
                let executor = Backwards(2);
                layer
                    .run(&input, case.size, residual.as_deref(), &mut output, &executor)
                    .unwrap();
                let mut found = Guarded::new(&vec![0.0; out.len_nchw()], at_end);
                layout::from_blocked(&output, out, lanes, &mut found);
                assert_eq!(
                    &found[..],
                    case.run(algorithm, layout, isa, &executor),
                    "{:?}",
                    case.conv
                );
                let mut means = Guarded::new(&vec![0.0; out.images * out.channels], at_end);
                layout::mean_of_blocked(&output, out, lanes, &mut means);
            }
        }
    }
}

#[test]
fn nothing_beside_the_slices_is_touched() {
    // Input channels, output channels, groups, kernel, stride, pads, images, rows, columns.
    let shapes = [
        (1, 1, 1, 3, 1, 0, 1, 3, 3),
        (3, 9, 1, 3, 2, 1, 1, 7, 11),
        (11, 25, 1, 3, 1, 1, 2, 13, 6),
        (17, 7, 1, 3, 1, 2, 1, 5, 17),
        (32, 48, 2, 3, 1, 1, 1, 9, 9),
        (8, 16, 1, 5, 3, 2, 3, 10, 8),
        (40, 24, 1, 1, 1, 0, 1, 1, 19),
        // Enough weights that images share them.
        (64, 120, 1, 3, 2, 1, 3, 8, 5),
    ];
    for (seed, (ci, co, groups, side, stride, pad, images, height, width)) in shapes.into_iter().enumerate() {
        let conv = Convolution {
            in_channels: ci,
            out_channels: co,
            groups,
            kernel: [side; 2],
            strides: [stride; 2],
            pads: [pad; 4],
            relu: seed % 2 == 0,
        };
        let case = Case::new(conv, [images, height, width], seed % 3 == 0, seed as u64).unwrap();
        check(&case, true);
        check(&case, false);
    }
}
