//! Work space that a thread keeps between layers, so that no layer allocates while it serves.

use std::cell::RefCell;

use super::vector::{Buffer, Plain};

thread_local! {
    static FIRST: RefCell<Buffer> = RefCell::new(Buffer::default());
    static SECOND: RefCell<Buffer> = RefCell::new(Buffer::default());
    static BYTES: RefCell<Buffer<u8>> = RefCell::new(Buffer::default());
}

/// Floats of a thread's smallest buffer: one huge page.
const LEN_MIN: usize = (2 << 20) / size_of::<f32>();

/// Which of a thread's two buffers to take. A layer that holds one while it calls its tasks uses the other inside them.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// Transformed input, or a padded copy of it.
    Input,
    /// Products before the output transform.
    Products,
}

/// Calls `body` with at least `len` floats of unspecified content, aligned to a cache line.
///
/// A slot that is already in use on this thread (a task run inside another layer's task) gets a fresh buffer.
pub(super) fn with<R>(slot: Slot, len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let key = match slot {
        Slot::Input => &FIRST,
        Slot::Products => &SECOND,
    };
    key.with(|cell| taken(cell, len, LEN_MIN, body))
}

/// As [`with`], for bytes; they are a slot of their own.
pub(super) fn bytes<R>(len: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
    BYTES.with(|cell| taken(cell, len, 0, body))
}

fn taken<T: Plain, R>(cell: &RefCell<Buffer<T>>, len: usize, least: usize, body: impl FnOnce(&mut [T]) -> R) -> R {
    match cell.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.len() < len {
                *buffer = Buffer::zeroed(len.max(least));
            }
            body(&mut buffer[..len])
        }
        Err(_) => body(&mut Buffer::zeroed(len)),
    }
}
