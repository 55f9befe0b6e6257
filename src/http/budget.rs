//! Bytes of all request bodies that are in memory at one time: bounded, whatever the number of connections.
//!
//! A body is charged as it arrives and until its request has been answered. One that goes beyond what is left is answered 429.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Code, Problem};
use super::settings::LimitSettings;

/// Bytes are counted in units of this size, so that a permit holds any number of them.
const UNIT_BYTES: usize = 1024;
/// When a refused request may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is left of the bytes.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    request_bytes_max: usize,
}

impl Budget {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        let units = limits.bodies_bytes_max.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units)),
            request_bytes_max: limits.request_bytes_max,
        }
    }
}

/// What one request has been charged.
#[derive(Debug)]
struct Account {
    budget: Budget,
    held: Mutex<Held>,
    refused: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    units: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Account {
    /// Charges `bytes` more; answers whether there were enough. Nothing is charged beyond what a request may keep: the rest of
    /// a body that is too large is read and dropped.
    fn charge(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes = held.bytes.saturating_add(bytes).min(self.budget.request_bytes_max);
        let more = held.bytes.div_ceil(UNIT_BYTES) - held.units;
        let Ok(count) = u32::try_from(more) else {
            return false;
        };
        let Ok(permit) = Arc::clone(&self.budget.units).try_acquire_many_owned(count) else {
            return false;
        };
        held.units += more;
        match &mut held.permit {
            Some(all) => all.merge(permit),
            None => held.permit = Some(permit),
        }
        true
    }
}

/// The layer.
pub(super) async fn within(State(budget): State<Budget>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let account = Arc::new(Account {
        budget,
        held: Mutex::default(),
        refused: AtomicBool::new(false),
    });
    let charged = Arc::clone(&account);
    let request = request.map(|body| Body::new(Charged { body, account: charged }));
    let uri = request.uri().clone();
    let response = next.run(request).await;
    if account.refused.load(Ordering::Relaxed) {
        let detail = "the bodies of the requests at hand fill the memory that is set aside for them";
        return Problem::new(Code::Overloaded, detail)
            .retry_after(RETRY_AFTER)
            .at(&uri)
            .into_response();
    }
    response
}

/// A body that is charged as it is read.
struct Charged {
    body: Body,
    account: Arc<Account>,
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if !self.account.charge(bytes) {
            self.account.refused.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new("no memory is left for the body"))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(budget: &Budget) -> Account {
        Account {
            budget: budget.clone(),
            held: Mutex::default(),
            refused: AtomicBool::new(false),
        }
    }

    #[test]
    fn bytes_are_charged_in_units_and_given_back() {
        let budget = Budget::new(&LimitSettings {
            bodies_bytes_max: 4096,
            request_bytes_max: 3000,
            ..LimitSettings::default()
        });
        let first = account(&budget);
        assert!(first.charge(1) && first.charge(1023));
        assert_eq!(budget.units.available_permits(), 3);
        assert!(first.charge(1_000_000), "no more than a request may keep");
        assert_eq!(budget.units.available_permits(), 1);
        let second = account(&budget);
        assert!(second.charge(1024) && !second.charge(1));
        drop(first);
        assert!(second.charge(1024));
        drop(second);
        assert_eq!(budget.units.available_permits(), 4);
    }
}
