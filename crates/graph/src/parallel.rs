//! Independent work on all cores, for compilers of graphs: threads that are gone afterwards. What serves requests has its own.

use std::sync::{Mutex, PoisonError};

/// Calls `work` with every item, in any order, and returns when all are done. There are as many threads as processors, the calling one
/// among them; each takes the next item when it is done with one.
///
/// # Panics
/// Where `work` does.
pub fn for_each<T>(items: impl ExactSizeIterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for count in [0, 1, 2, 1000] {
            let mut done = vec![0; count];
            for_each(done.iter_mut().enumerate(), |(i, place)| *place += i + 1);
            assert!(done.into_iter().eq(1..=count));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let panics = || for_each(0..10, |i| assert!(i < 5));
        assert!(std::panic::catch_unwind(panics).is_err());
    }
}
