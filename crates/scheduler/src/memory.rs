//! Memory that items may hold while they are prepared: one budget, however many schedulers a process has.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that is shared by all who prepare items. Cheap to ask: no lock.
#[derive(Debug)]
pub struct Memory {
    bytes_max: u64,
    bytes_used: AtomicU64,
}

impl Memory {
    /// A budget of `bytes_max` bytes, none of them used.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes_used: AtomicU64::new(0),
        }
    }

    /// A budget that never runs out.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Bytes in all.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that are in use now.
    pub fn bytes_used(&self) -> u64 {
        self.bytes_used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if so many are left. What is more than all there is counts as all there is: it goes alone.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let bytes = bytes.min(self.bytes_max);
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let taken = self.bytes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, bytes: u64) {
        self.bytes_used.fetch_sub(bytes.min(self.bytes_max), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_given_back() {
        let memory = Memory::new(10);
        assert!(memory.take(4) && memory.take(6) && !memory.take(1));
        memory.give(4);
        assert_eq!((memory.bytes_used(), memory.take(5), memory.take(4)), (6, false, true));
    }

    #[test]
    fn more_than_there_is_goes_alone() {
        let memory = Memory::new(10);
        assert!(memory.take(1) && !memory.take(11));
        memory.give(1);
        assert!(memory.take(11) && !memory.take(1));
        memory.give(11);
        assert_eq!(memory.bytes_used(), 0);
        let unlimited = Memory::unlimited();
        assert!(unlimited.take(1 << 60) && unlimited.take(1 << 60));
    }
}
