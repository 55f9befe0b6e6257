//! Bytes of all responses that wait for their clients to read them: bounded, whatever the number of connections.
//!
//! A response is charged when it is made and until the socket has taken its last byte. One that goes beyond what is left is
//! replaced by 429. Small responses are not charged: a connection has one at a time. Nor are documents that all responses share.
//! Each listener counts its own; the second one has metrics and probes alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::HttpBody;
use axum::response::{IntoResponse, Response};

use super::error::{Code, Problem};
use super::keep_alive::close_after;
use super::settings::LimitSettings;

/// Responses up to this size are not charged.
const SMALL_BYTES_MAX: usize = 4 << 10;

/// Marks a response whose body is part of the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct StaticBody;

/// What is left of the bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ResponseBudget {
    left: Arc<AtomicUsize>,
}

/// What one response has been charged; given back when dropped.
#[derive(Debug)]
pub(super) struct ResponseCharge {
    left: Arc<AtomicUsize>,
    bytes: usize,
}

impl ResponseBudget {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(limits.answers_bytes_max)),
        }
    }

    /// Charges a response. The charge travels with it to its connection, which holds it until the response is written. Where it has no
    /// place, another takes its place.
    pub(super) fn charge(&self, mut response: Response) -> Response {
        let hint = response.body().size_hint();
        let bytes = usize::try_from(hint.upper().unwrap_or(hint.lower())).unwrap_or(usize::MAX);
        if bytes <= SMALL_BYTES_MAX || response.extensions().get::<StaticBody>().is_some() {
            return response;
        }
        if let Some(charge) = self.take(bytes) {
            response.extensions_mut().insert(Arc::new(charge));
            return response;
        }
        drop(response);
        let mut response = full().into_response();
        close_after(&mut response);
        response
    }

    /// Charges one response of many. There is no charge for a small one.
    ///
    /// # Errors
    /// Where it has no place.
    pub(super) fn charge_bytes(&self, bytes: usize) -> Result<Option<ResponseCharge>, Problem> {
        if bytes <= SMALL_BYTES_MAX {
            return Ok(None);
        }
        self.take(bytes).map(Some).ok_or_else(full)
    }

    /// Charges `bytes`, where there are as many.
    fn take(&self, bytes: usize) -> Option<ResponseCharge> {
        let less = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok()?;
        Some(ResponseCharge {
            left: Arc::clone(&self.left),
            bytes,
        })
    }
}

fn full() -> Problem {
    let detail = "responses that their clients have not read fill the memory that is set aside for them";
    Problem::new(Code::Overloaded, detail).retry_soon()
}

impl Drop for ResponseCharge {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_charged_while_there_are_any_and_given_back() {
        let budget = ResponseBudget::new(&LimitSettings {
            answers_bytes_max: 100,
            ..LimitSettings::default()
        });
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        assert!(budget.take(1).is_none());
        drop((first, second));
        assert!(budget.take(101).is_none());
        assert!(budget.take(100).is_some());
    }
}
