//! How many requests a connection of HTTP/2 may have at a time, and how much may come of their bodies before they are read.
//!
//! It is decided when the connection begins, for only then can the client be told: each gets a few, and a part of what is left of a pool.
//! So one client of a quiet server has many, and where there are many connections their requests are not many more than those of
//! HTTP/1.1 would be: what a client has too many of waits with the client. Nothing has to be refused for it.

use std::sync::{Arc, Mutex, PoisonError};

/// Requests that every connection may have: one may be a stream that stays open, such as one that watches the health.
const STREAMS_MIN: usize = 2;
/// Requests of one connection at most.
const STREAMS_MAX: usize = 128;
/// What each connection gets of the pool: this part of what is left.
const SHARE: usize = 16;
/// Bytes that may come of the bodies of [`STREAMS_MIN`] requests and of each further one, before they are read.
const MIN_BYTES: usize = 64 << 10;
const FURTHER_BYTES: usize = 64 << 10;

/// Requests beyond those that every connection may have.
#[derive(Debug)]
pub(super) struct StreamPool {
    free: Mutex<usize>,
}

impl StreamPool {
    pub(super) fn new(streams: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(streams),
        })
    }

    /// What a new connection may have. One of the reserve gets nothing of the pool.
    pub(super) fn allot(self: &Arc<Self>, reserve: bool) -> Allotment {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let further = if reserve {
            0
        } else {
            (*free / SHARE).min(STREAMS_MAX - STREAMS_MIN)
        };
        *free -= further;
        Allotment {
            pool: Arc::clone(self),
            further,
        }
    }
}

/// What one connection may have; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Allotment {
    pool: Arc<StreamPool>,
    further: usize,
}

impl Allotment {
    /// Requests at a time.
    pub(super) fn streams(&self) -> u32 {
        (STREAMS_MIN + self.further) as u32
    }

    /// What a client may send of one body before it is read.
    pub(super) fn stream_window_bytes(&self) -> u32 {
        ((MIN_BYTES + self.further * FURTHER_BYTES) / (STREAMS_MIN + self.further)) as u32
    }

    /// What a client may send of all bodies together: as much as of each. With less, bodies of requests that wait would keep
    /// the body of an admitted one from coming.
    pub(super) fn connection_window_bytes(&self) -> u32 {
        self.stream_window_bytes() * self.streams()
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        *self.pool.free.lock().unwrap_or_else(PoisonError::into_inner) += self.further;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_has_many_and_the_last_has_few() {
        let pool = StreamPool::new(1024);
        let all: Vec<_> = (0..1024).map(|_| pool.allot(false)).collect();
        let streams: Vec<u32> = all.iter().map(Allotment::streams).collect();
        assert_eq!((streams[0], streams[1], streams[30]), (66, 62, 11));
        assert_eq!((streams[100], streams[1023]), (2, 2));
        assert_eq!(StreamPool::new(100_000).allot(false).streams(), 128);
        drop(all);
        assert_eq!(pool.allot(false).streams(), 66);
    }

    #[test]
    fn the_reserve_gets_nothing_of_the_pool() {
        let pool = StreamPool::new(1024);
        assert_eq!(pool.allot(true).streams(), 2);
        assert_eq!(pool.allot(false).streams(), 66);
    }

    proptest! {
        /// However connections come and go, the pool bounds them; no body's window needs what another's holds.
        #[test]
        fn all_together_are_bounded(pool in 0usize..5000, events in proptest::collection::vec(0usize..3, 1..400)) {
            let streams = StreamPool::new(pool);
            let mut open = Vec::new();
            for event in events {
                match event {
                    0 if !open.is_empty() => drop(open.swap_remove(open.len() / 2)),
                    event => open.push(streams.allot(event == 2)),
                }
                let all: usize = open.iter().map(|one: &Allotment| one.streams() as usize).sum();
                prop_assert!(all <= pool + STREAMS_MIN * open.len());
                let bytes: usize = open.iter().map(|one| one.connection_window_bytes() as usize).sum();
                prop_assert!(bytes <= pool * FURTHER_BYTES + MIN_BYTES * open.len());
                for one in &open {
                    prop_assert!(one.stream_window_bytes() >= 32 << 10);
                    prop_assert!((STREAMS_MIN as u32..=STREAMS_MAX as u32).contains(&one.streams()));
                }
            }
            drop(open);
            prop_assert_eq!(*streams.free.lock().unwrap(), pool);
        }
    }
}
