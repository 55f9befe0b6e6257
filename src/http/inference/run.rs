//! Running a request within its deadline: a place when its head has arrived, then its images.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::InferRequest;
use crate::classify::{Admitted, Failure, HeadWork, Served, infer};
use crate::http::Shared;
use crate::http::admission::{self, Due};
use crate::http::client::Identity;
use repserve_runtime::Row;
use repserve_scheduler::{Priority, Timings};

/// What is known of a request from its head.
#[derive(Debug, Clone)]
pub(in crate::http) struct RunContext {
    /// The server's state.
    pub(in crate::http) shared: Shared,
    /// Who sent it.
    pub(in crate::http) identity: Identity,
    /// When its head had arrived.
    pub(in crate::http) arrived: Instant,
    /// How long it may take, where its head says so.
    pub(in crate::http) timeout: Option<Duration>,
    /// Whether its body may be compressed.
    pub(in crate::http) packed: bool,
}

/// What came of a request.
#[derive(Debug)]
pub(in crate::http) struct Ran {
    /// One row for each image; all values that are requested are finite.
    pub(in crate::http) rows: Vec<Row>,
    /// Where the time went.
    pub(in crate::http) timings: Timings,
}

impl RunContext {
    /// Until when it must be done, if its sender allows it `timeout`.
    fn due(&self, timeout: Option<Duration>) -> Due {
        let latest = self.arrived + self.shared.server.request_timeout(None);
        let own = timeout.and_then(|timeout| self.arrived.checked_add(timeout));
        Due {
            deadline: own.map_or(latest, |own| own.min(latest)),
            own: timeout.is_some(),
        }
    }

    /// A place for a request of which only the head has arrived. Where its deadline stands in its body, it is taken for one that its client
    /// chose, for which the queue may be long, unless its client was told to come back later.
    ///
    /// # Errors
    /// Where there is no room.
    pub(in crate::http) async fn admit(&self, served: &Served) -> Result<Admitted, Failure> {
        let mut due = self.due(self.timeout);
        due.own |= !served.back_pressure().was_told(self.identity.sender);
        let request = admission::request(&self.identity, due, Priority::default());
        // Tensors need no decoding: how long the work takes is known when the body has been read.
        let work = HeadWork {
            items: 1,
            encoded_bytes: 0,
            packed: self.packed,
        };
        admission::admit(served, &self.shared.metrics, &self.identity, work, &request).await
    }

    /// Runs the images of a request, all of them or none.
    ///
    /// # Errors
    /// As [`infer`], and where a value that comes out is not finite.
    pub(in crate::http) async fn run(
        &self,
        served: &Arc<Served>,
        request: &mut InferRequest,
        admitted: Admitted,
    ) -> Result<Ran, Failure> {
        let within_body = request.timeout_us.map(Duration::from_micros);
        let timeout = match (self.timeout, within_body) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let due = self.due(timeout);
        let wanted = admission::request(&self.identity, due, request.priority);
        let work = std::mem::take(&mut request.work);
        let ran = infer(served, work, &wanted, Some(admitted)).await;
        let (rows, timings) = admission::counted(&self.shared.metrics, due, ran)?;
        let finite = |row: &Row| request.values(row).flatten().all(|x| x.is_finite());
        if !rows.iter().all(finite) {
            return Err(Failure::NotFinite);
        }
        Ok(Ran { rows, timings })
    }
}
