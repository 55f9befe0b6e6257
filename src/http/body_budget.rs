//! Memory for the bodies of all requests, bounded whatever the number of connections, and shared out among clients.
//!
//! A request is charged for its body as it arrives, for what is made of the body while it is read, and until its response is made.
//! The rules are in [`ledger`].

mod ledger;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, SizeHint};

use self::ledger::{Ledger, Sizes};
use super::Shared;
use super::client::Client;
use super::error::{Code, Problem};
use crate::telemetry::Metrics;

pub(super) use self::ledger::OverBudget;

/// What all requests are charged to.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget {
    ledger: Arc<Mutex<Ledger<Client>>>,
    metrics: Arc<Metrics>,
    request_bytes_max: usize,
}

impl BodyBudget {
    pub(super) fn new(shared: &Shared) -> Self {
        let limits = &shared.limits;
        let sizes = Sizes::new(
            limits.bodies_bytes_max,
            limits.request_bytes_max,
            limits.image_bytes_max,
        );
        Self {
            ledger: Arc::new(Mutex::new(Ledger::new(sizes))),
            metrics: Arc::clone(&shared.metrics),
            request_bytes_max: limits.request_bytes_max,
        }
    }

    /// The request, whose body is charged to `client` as it is read; and the charge, which is to be kept until there is a response.
    pub(super) fn charge(&self, client: Client, mut request: Request) -> (BodyCharge, Request) {
        let charge = BodyCharge::new(self.clone(), client);
        request.extensions_mut().insert(charge.clone());
        let charged = charge.clone();
        let request = request.map(|body| Body::new(ChargedBody { body, charge: charged }));
        (charge, request)
    }
}

/// What one request is charged; an extension of the request. It is given back when the last copy is dropped.
#[derive(Debug, Clone)]
pub(super) struct BodyCharge(Arc<Account>);

#[derive(Debug)]
struct Account {
    budget: BodyBudget,
    client: Client,
    bytes: Mutex<usize>,
}

impl BodyCharge {
    fn new(budget: BodyBudget, client: Client) -> Self {
        Self(Arc::new(Account {
            budget,
            client,
            bytes: Mutex::new(0),
        }))
    }

    /// Charges what the request holds from now on, in bytes.
    ///
    /// # Errors
    /// Where it may not hold so much; it is then charged what it was.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), OverBudget> {
        self.0.change(|_| bytes)
    }

    /// Whose request it is.
    pub(super) fn client(&self) -> Client {
        self.0.client
    }

    /// The account of another request of the same client, which holds nothing yet.
    pub(super) fn of_another(&self) -> Self {
        Self::new(self.0.budget.clone(), self.0.client)
    }

    /// Charges for a part of the body that has arrived. Nothing is charged beyond what a body may have: the rest of one that is
    /// too large is read and dropped.
    fn arrived(&self, bytes: usize) -> Result<(), OverBudget> {
        let most = self.0.budget.request_bytes_max;
        self.0.change(|before| before.saturating_add(bytes).min(most))
    }
}

impl Account {
    fn change(&self, to: impl FnOnce(usize) -> usize) -> Result<(), OverBudget> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let after = to(*bytes);
        if after != *bytes {
            let mut ledger = self.budget.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.change(self.client, *bytes, after)?;
            self.budget.metrics.body_charged(*bytes, after);
            *bytes = after;
        }
        Ok(())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // To hold nothing is always allowed.
        let _ = self.change(|_| 0);
    }
}

impl From<OverBudget> for Problem {
    fn from(over_budget: OverBudget) -> Self {
        let detail = over_budget.to_string();
        match over_budget {
            OverBudget::Full | OverBudget::Share => Self::new(Code::Overloaded, detail).retry_soon(),
            OverBudget::Never { .. } => Self::new(Code::TooLarge, detail),
        }
    }
}

/// A body that is charged as it is read. Where it exceeds the budget, reading ends with [`OverBudget`].
struct ChargedBody {
    body: Body,
    charge: BodyCharge,
}

impl HttpBody for ChargedBody {
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
        Poll::Ready(match self.charge.arrived(bytes) {
            Ok(()) => frame,
            Err(over_budget) => Some(Err(axum::Error::new(over_budget))),
        })
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
    use crate::http::LimitSettings;

    fn budget() -> BodyBudget {
        let limits = LimitSettings {
            bodies_bytes_max: 4096,
            request_bytes_max: 3000,
            ..LimitSettings::default()
        };
        let sizes = Sizes::new(
            limits.bodies_bytes_max,
            limits.request_bytes_max,
            limits.image_bytes_max,
        );
        BodyBudget {
            ledger: Arc::new(Mutex::new(Ledger::new(sizes))),
            metrics: Arc::new(Metrics::new().unwrap()),
            request_bytes_max: limits.request_bytes_max,
        }
    }

    #[track_caller]
    fn held(budget: &BodyBudget, bytes: usize) {
        assert_eq!(budget.ledger.lock().unwrap().held_bytes(), bytes);
    }

    #[test]
    fn a_request_is_charged_as_its_body_arrives_and_until_it_ends() {
        let budget = budget();
        let charge = BodyCharge::new(budget.clone(), Client::Unknown);
        charge.arrived(1).unwrap();
        charge.arrived(1000).unwrap();
        held(&budget, 1001);
        charge.arrived(1_000_000).unwrap();
        held(&budget, 3000);
        let copy = charge.clone();
        drop(charge);
        held(&budget, 3000);
        copy.hold(10).unwrap();
        held(&budget, 10);
        drop(copy);
        held(&budget, 0);
    }

    #[test]
    fn what_is_refused_is_not_charged() {
        let budget = budget();
        let charge = BodyCharge::new(budget.clone(), Client::Unknown);
        charge.arrived(100).unwrap();
        assert_eq!(
            charge.hold(5000).unwrap_err(),
            OverBudget::Never {
                wanted: 5000,
                most: 3072
            }
        );
        held(&budget, 100);
    }
}
