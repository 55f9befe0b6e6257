//! Returns the memory of closed connections to the system. Each has buffers of its own; the allocator keeps them when
//! many connections have closed, scattered between what is in use.

use std::time::Duration;

use tokio::sync::watch;

use repserve_runtime::return_freed_memory;

/// So many connections fewer than there were are worth the work.
const CLOSED_MIN: usize = 128;
/// How long more of them may close before the work is done.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether so many connections have closed since the last time that memory is worth returning.
#[derive(Debug, Default)]
struct Closings {
    /// Most connections since memory was last returned.
    peak: usize,
}

impl Closings {
    fn many(&mut self, live: usize) -> bool {
        self.peak = self.peak.max(live);
        self.peak - live >= CLOSED_MIN
    }

    fn returned(&mut self, live: usize) {
        self.peak = live;
    }
}

/// Watches how many connections there are, to the end of the listener and of its last connection.
pub(in crate::http) async fn return_memory(mut live: watch::Receiver<usize>) {
    let mut closings = Closings::default();
    while live.changed().await.is_ok() {
        let now = *live.borrow_and_update();
        if closings.many(now) {
            tokio::time::sleep(PAUSE).await;
            // Fails only where the runtime ends.
            let _ = tokio::task::spawn_blocking(return_freed_memory).await;
            closings.returned(*live.borrow_and_update());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_when_many_have_closed() {
        let mut closings = Closings::default();
        assert!(!closings.many(200) && !closings.many(73));
        assert!(closings.many(72));
        closings.returned(10);
        assert!(!closings.many(0));
        assert!(!closings.many(138));
        assert!(closings.many(10));
    }
}
