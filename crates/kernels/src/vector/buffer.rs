//! Memory of the kernels: aligned numbers, and an output that several tasks write.

use std::alloc::{self, Layout};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::register::{NEAR, Vector, prefetch_line, within};

/// Numbers that any bytes are, zeros too.
///
/// # Safety
/// Every bit pattern of the type's size is a value of it.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: numbers.
unsafe impl Plain for f32 {}
// SAFETY: numbers.
unsafe impl Plain for i8 {}
// SAFETY: numbers.
unsafe impl Plain for i32 {}
// SAFETY: numbers.
unsafe impl Plain for u8 {}

/// Numbers aligned to a cache line, so that no vector load of weights crosses one; large buffers to a huge page, which the kernel is
/// requested: contiguous memory fills the second-level cache evenly and spares the address translation.
pub(crate) struct Buffer<T: Plain = f32> {
    start: NonNull<T>,
    len: usize,
}

const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

// SAFETY: a buffer owns its memory, like a `Vec`.
unsafe impl<T: Plain + Send> Send for Buffer<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Plain + Sync> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros.
    ///
    /// # Panics
    /// Where that many cannot be addressed, as a `Vec` does.
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc::alloc(layout) }) else {
            alloc::handle_alloc_error(layout)
        };
        // Before the first write: pages that have been written to stay small.
        advise_huge(start, layout);
        // SAFETY: the allocation has that many bytes.
        unsafe { start.write_bytes(0, layout.size()) };
        Self {
            start: start.cast(),
            len,
        }
    }

    fn layout(len: usize) -> Layout {
        let aligned = Layout::array::<T>(len).and_then(|layout| {
            let align = if layout.size() >= HUGE_PAGE { HUGE_PAGE } else { LINE };
            layout.align_to(align)
        });
        match aligned {
            Ok(layout) => layout,
            Err(_) => panic!("capacity overflow: {len} values"),
        }
    }
}

fn advise_huge(start: NonNull<u8>, layout: Layout) {
    #[cfg(target_os = "linux")]
    if layout.align() == HUGE_PAGE {
        // SAFETY: the range was just allocated; the advice changes no content. A refusal costs only speed.
        unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, layout);
}

impl<T: Plain> Default for Buffer<T> {
    fn default() -> Self {
        Self {
            start: NonNull::dangling(),
            len: 0,
        }
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated by `zeroed` with this layout.
            unsafe { alloc::dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised numbers start there (none at a dangling pointer).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// A slice that the tasks of one layer write together, each its own part (the module's contract).
#[derive(Clone, Copy)]
pub(crate) struct SharedOutput<'a, T = f32> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: tasks write disjoint parts and nothing reads them before all are done.
unsafe impl<T: Send> Send for SharedOutput<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedOutput<'_, T> {}

impl<'a, T> SharedOutput<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The `len` values from `first` on.
    ///
    /// # Panics
    /// Where there are fewer.
    pub(crate) fn part(self, first: usize, len: usize) -> Self {
        assert!(within(first, len, self.len), "{len} of {} from {first} on", self.len);
        Self {
            start: self.start.wrapping_add(first),
            len,
            slice: PhantomData,
        }
    }
}

impl SharedOutput<'_> {
    /// Asks for the cache line at `at`, which need not exist, so that a later store does not wait for it.
    #[inline(always)]
    pub(super) fn prefetch(self, at: usize) {
        prefetch_line::<NEAR>(self.start.wrapping_add(at));
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

impl<T: Copy> SharedOutput<'_, T> {
    /// Where `count` values from `at` on are to be written.
    ///
    /// # Safety
    /// `at + count <= len`, and no other task writes there.
    #[inline(always)]
    pub(super) unsafe fn place(self, at: usize, count: usize) -> *mut T {
        debug_assert!(at + count <= self.len, "write of {count} at {at} of {}", self.len);
        unsafe { self.start.add(at) }
    }
}

/// Memory in parts, of which tasks read some while they write another; later tasks read that too (the module's contract).
pub(crate) struct Slots<'a> {
    parts: Vec<(NonNull<u8>, usize)>,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: the parts are borrowed exclusively; tasks read and write them as the module's contract says.
unsafe impl Send for Slots<'_> {}
// SAFETY: as above.
unsafe impl Sync for Slots<'_> {}

impl<'a> Slots<'a> {
    pub(crate) fn new(parts: impl IntoIterator<Item = &'a mut [u8]>) -> Self {
        let part = |part: &'a mut [u8]| (NonNull::from(&mut *part).cast(), part.len());
        Self {
            parts: parts.into_iter().map(part).collect(),
            memory: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The first `len` bytes of a part, which nobody writes as long as they are read.
    ///
    /// # Panics
    /// Where there are fewer.
    pub(crate) fn read(&self, part: usize, len: usize) -> &[u8] {
        let (start, all) = self.parts[part];
        assert!(len <= all, "{len} bytes of a part of {all}");
        // SAFETY: so many bytes are there, and by the contract nobody writes them meanwhile.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The first `len` bytes of a part, for tasks that write them together and that nobody reads meanwhile.
    ///
    /// # Panics
    /// Where there are fewer.
    pub(crate) fn written(&self, part: usize, len: usize) -> SharedOutput<'_, u8> {
        let (start, all) = self.parts[part];
        assert!(len <= all, "{len} bytes of a part of {all}");
        SharedOutput {
            start: start.as_ptr(),
            len,
            slice: PhantomData,
        }
    }
}
