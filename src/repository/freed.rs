//! Memory that loading and exchanging models leave in the heap, given back to the system once that has come to rest.
//!
//! Giving it back locks every thread's part of the heap for a few milliseconds each time. The loading thread must not do it beside requests: it
//! has the least priority, and whoever needs memory meanwhile would wait until it gets a core again.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use repserve_runtime::return_freed_memory;

/// It has come to rest when nothing was freed for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Where that goes on and on, memory is given back so long after it was freed.
const LATEST: Duration = Duration::from_secs(10);

/// Is told when memory was freed.
#[derive(Debug)]
pub(super) struct Freed(watch::Sender<()>);

impl Freed {
    /// Starts the task that gives it back, which ends with this value. Must be called within a runtime.
    pub(super) fn follow() -> Self {
        let freed = watch::Sender::new(());
        tokio::spawn(give_back(freed.subscribe()));
        Self(freed)
    }

    /// Memory was freed that is to be given back soon.
    pub(super) fn note(&self) {
        self.0.send_replace(());
    }
}

async fn give_back(mut freed: watch::Receiver<()>) {
    while freed.changed().await.is_ok() {
        let latest = Instant::now() + LATEST;
        while Instant::now() < latest
            && tokio::time::timeout(QUIET, freed.changed())
                .await
                .is_ok_and(|more| more.is_ok())
        {}
        let _ = tokio::task::spawn_blocking(return_freed_memory).await;
    }
}
