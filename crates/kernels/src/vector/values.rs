//! Numbers that a layer reads: its own, or memory that others made, such as a mapped file.

use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;

use super::buffer::{Buffer, Plain};

/// Numbers that are not written any more.
pub(crate) enum Values<T: Plain> {
    Own(Buffer<T>),
    Shared(Shared<T>),
}

/// Bytes that are numbers: aligned, and as many as a whole count of them takes.
pub(crate) struct Shared<T> {
    memory: Bytes,
    numbers: PhantomData<T>,
}

impl<T: Plain> Values<T> {
    /// The numbers that these bytes are, in this machine's order; `None` where they are not aligned or cut off.
    pub(crate) fn shared(memory: Bytes) -> Option<Self> {
        let whole = memory.len().is_multiple_of(size_of::<T>()) && memory.as_ptr().cast::<T>().is_aligned();
        whole.then_some(Self::Shared(Shared {
            memory,
            numbers: PhantomData,
        }))
    }

    /// As bytes in this machine's order.
    pub(crate) fn bytes(&self) -> &[u8] {
        let values: &[T] = self;
        // SAFETY: numbers have no padding, and bytes have no alignment.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
    }
}

impl<T: Plain> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(buffer) => buffer,
            // SAFETY: `shared` has checked alignment and length; any bytes are numbers of a plain type; `Bytes` does not change its memory.
            Self::Shared(Shared { memory, .. }) => unsafe {
                std::slice::from_raw_parts(memory.as_ptr().cast(), memory.len() / size_of::<T>())
            },
        }
    }
}

impl<T: Plain> From<Buffer<T>> for Values<T> {
    fn from(buffer: Buffer<T>) -> Self {
        Self::Own(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, and the memory of others that holds them.
    fn shared(numbers: &[f32]) -> (Values<f32>, Bytes) {
        struct Owner(Values<f32>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.bytes()
            }
        }
        let own = || {
            let mut own = Buffer::zeroed(numbers.len());
            own.copy_from_slice(numbers);
            Values::from(own)
        };
        (own(), Bytes::from_owner(Owner(own())))
    }

    #[test]
    fn what_is_shared_is_what_was_written() {
        let (own, memory) = shared(&[1.5, -2.0, f32::NAN, 0.0]);
        let shared = Values::<f32>::shared(memory).unwrap();
        assert_eq!((shared.len(), shared[1], shared.bytes()), (4, -2.0, own.bytes()));
    }

    #[test]
    fn bytes_that_are_cut_off_or_not_aligned_are_no_numbers() {
        let (_, memory) = shared(&[1.0; 4]);
        assert!(Values::<f32>::shared(memory.slice(4..12)).is_some());
        assert!(Values::<f32>::shared(memory.slice(1..5)).is_none());
        assert!(Values::<f32>::shared(memory.slice(0..6)).is_none());
    }
}
