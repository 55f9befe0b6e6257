//! A version that is not served yet computes a share of the live requests as well, and is compared with the one that is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::served::Served;
use super::{Broken, Output, Tensor, compute};
use crate::telemetry::Metrics;
use repserve_scheduler::{Payload, Priority, Request};

/// Requests that are computed twice at one time; the others are not.
const AT_ONCE_MAX: u64 = 2;
/// How often is looked whether anybody still waits for the comparison.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A version that is compared with the one that is served.
pub struct Shadow {
    next: Arc<Served>,
    share: f64,
    metrics: Arc<Metrics>,
    requests: AtomicU64,
    at_once: AtomicU64,
    counts: Mutex<Counts>,
    compared: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    compared: usize,
    agreed: usize,
}

/// A request that is computed twice.
pub(super) struct Twin {
    shadow: Arc<Shadow>,
    work: Vec<Payload<Bytes, Tensor>>,
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.shadow.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shadow {
    /// Compares `next` on `share` of the requests, 0 to 1.
    pub fn new(next: Arc<Served>, share: f64, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            next,
            share,
            metrics,
            requests: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
            counts: Mutex::default(),
            compared: Condvar::new(),
        })
    }

    /// Requests that were compared, and those of them in which both versions found the same best classes.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.compared, counts.agreed)
    }

    /// Waits until so many requests were compared, the time is over, or nobody wants it any more. Blocks.
    pub fn wait(&self, requests: usize, time_max: Duration, wanted: &dyn Fn() -> bool) {
        let end = Instant::now() + time_max;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        while counts.compared < requests && Instant::now() < end && wanted() {
            let waited = self.compared.wait_timeout(counts, LOOK_AGAIN);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The request's twin, where it is one of the share and can be run by both.
    pub(super) fn twin(self: &Arc<Self>, served: &Served, work: &[Payload<Bytes, Tensor>]) -> Option<Twin> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let due = |requests: u64| (requests as f64 * self.share).floor();
        if due(before + 1) <= due(before) {
            return None;
        }
        let same_input = served.signature().image == self.next.signature().image;
        let copy = |payload: &Payload<Bytes, Tensor>| match payload {
            Payload::Raw(bytes) => Some(Payload::Raw(bytes.clone())),
            Payload::Ready(tensor) => same_input.then(|| Payload::Ready(tensor.clone())),
        };
        let work = work.iter().map(copy).collect::<Option<Vec<_>>>()?;
        if self.at_once.fetch_add(1, Ordering::Relaxed) >= AT_ONCE_MAX {
            self.at_once.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let shadow = Arc::clone(self);
        Some(Twin { shadow, work })
    }

    fn count(&self, agreed: Option<bool>) {
        self.metrics.model.shadowed(self.next.name(), agreed);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.compared += 1;
        counts.agreed += usize::from(agreed == Some(true));
        self.compared.notify_all();
    }
}

impl Twin {
    /// Runs the request on the other version, behind what is served, and compares the best class of each image with `found`.
    pub(super) fn compare(mut self, found: Vec<Option<String>>) {
        tokio::spawn(async move {
            let request = Request {
                priority: Priority(u8::MAX),
                ..Request::patient()
            };
            let work = std::mem::take(&mut self.work);
            let names = vec![None; work.len()];
            let next = &self.shadow.next;
            let ran = compute(next, work, &names, Broken::Reported, &request, None).await;
            let agreed = ran.ok().map(|(rows, _)| best_labels(next, &rows) == found);
            self.shadow.count(agreed);
        });
    }
}

/// The label of the best class of each row; none where the image is broken.
pub(super) fn best_labels(served: &Served, outputs: &[Output]) -> Vec<Option<String>> {
    let best = |output: &Output| {
        let classes = super::topk::classes(&output.as_ref().ok()?.values, served.scores(), 1)?;
        classes.first().map(|class| served.label(class.index).to_owned())
    };
    outputs.iter().map(best).collect()
}
