//! Memory of the kernels: aligned floats, and an output that several tasks write.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::Vector;

/// Floats aligned to a cache line, so that no vector load of weights crosses one.
#[derive(Default)]
pub(in super::super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Buffer {
    pub(in super::super) fn zeroed(len: usize) -> Self {
        Self {
            lines: vec![Line([0.0; 16]); len.div_ceil(16)],
            len,
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` floats and `Line` is nothing but floats.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// A slice that the tasks of one layer write together, each its own part (the module's contract).
#[derive(Clone, Copy)]
pub(in super::super) struct SharedOutput<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: tasks write disjoint parts and nobody reads before all are done.
unsafe impl Send for SharedOutput<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedOutput<'_> {}

impl<'a> SharedOutput<'a> {
    pub(in super::super) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    pub(in super::super) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// `at + V::LANES <= len`, and no other task writes there.
    #[inline(always)]
    pub(super) unsafe fn store<V: Vector>(self, at: usize, value: V) {
        debug_assert!(
            at + V::LANES <= self.len,
            "store of {} at {at} of {}",
            V::LANES,
            self.len
        );
        unsafe { value.store(self.start.add(at)) }
    }
}
