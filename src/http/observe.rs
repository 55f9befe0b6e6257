//! What happens around every request: its id, its time, its line in the log, its place in the metrics.

use std::fmt;
use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use uuid::Uuid;

use super::Shared;
use super::error::{ProblemDetail, Refused};
use super::refusal_log::{self, Refusal};
use super::timing::{StageTimes, milliseconds, of_one_response};
use super::trace::{Carried, TRACEPARENT, TraceContext};
use crate::telemetry::{Reason, RequestSpan};

/// The status under which a request counts whose client went away.
const CLIENT_GONE: u16 = 499;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TOTAL_TIME: HeaderName = HeaderName::from_static("x-total-time");
/// Longest request id that is taken over from a client.
const ID_BYTES_MAX: usize = 128;

/// When a request's head had arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(pub(super) Instant);

/// Counts a request when it ends, also when it ends by being dropped.
struct RequestRecord {
    shared: Shared,
    arrived: Instant,
    route: Option<MatchedPath>,
    method: Method,
    status: Option<StatusCode>,
}

impl RequestRecord {
    fn route(&self) -> &str {
        self.route.as_ref().map_or("other", MatchedPath::as_str)
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let code = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        if code == CLIENT_GONE && self.method == Method::POST {
            self.shared.metrics.rejected(Reason::Cancelled);
        }
        let took = self.arrived.elapsed();
        self.shared
            .metrics
            .request_ended(self.route(), method_label(&self.method), code, took);
    }
}

/// A request that was begun and is counted, also where it is dropped before its end.
pub(super) struct Observed {
    record: RequestRecord,
    id: HeaderValue,
    trace: TraceContext,
    /// Of a request whose span is exported.
    carried: Option<Carried>,
    version: Version,
}

impl Observed {
    /// A request's head has arrived.
    pub(super) fn begin(shared: &Shared, request: &mut Request) -> Self {
        let arrived = Instant::now();
        let trace = TraceContext::of(request.headers(), || {
            shared.spans.as_ref().is_some_and(|spans| spans.sample())
        });
        let exported = shared.spans.is_some() && trace.sampled;
        let carried = exported.then(|| Carried::of(request.headers()));
        shared.metrics.request_began();
        request.extensions_mut().insert(Arrived(arrived));
        Self {
            record: RequestRecord {
                shared: shared.clone(),
                arrived,
                route: request.extensions().get::<MatchedPath>().cloned(),
                method: request.method().clone(),
                status: None,
            },
            id: id_of(request.headers()),
            trace,
            carried,
            version: request.version(),
        }
    }

    /// Its response is made.
    pub(super) fn end(self, response: &mut Response) {
        let Self {
            mut record,
            id,
            trace,
            carried,
            version,
        } = self;
        record.status = Some(response.status());
        match response.extensions().get() {
            // The client may be gone: the request counts as one whose client went away.
            Some(Refused(Reason::Cancelled)) => record.status = None,
            Some(Refused(reason)) => record.shared.metrics.rejected(*reason),
            None => {}
        }
        log(&record, &id, trace, response);
        if let Some(carried) = carried {
            export(&record, &id, trace, carried, response);
        }
        let headers = response.headers_mut();
        headers.insert(TOTAL_TIME, milliseconds(record.arrived.elapsed()));
        headers.insert(REQUEST_ID, of_one_response(id));
        headers.insert(TRACEPARENT, of_one_response(trace.header()));
        if version < Version::HTTP_2 && record.shared.health.draining() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn export(record: &RequestRecord, id: &HeaderValue, trace: TraceContext, carried: Carried, response: &Response) {
    let Some(spans) = &record.shared.spans else {
        return;
    };
    let spent = response.extensions().get::<StageTimes>();
    let took = record.arrived.elapsed();
    spans.record(RequestSpan {
        trace_id: trace.trace_id,
        span_id: trace.span_id,
        parent_id: trace.parent_id,
        trace_state: if trace.parent_id.is_some() {
            carried.state
        } else {
            String::new()
        },
        baggage: carried.baggage,
        route: record.route().to_owned(),
        method: method_label(&record.method).to_owned(),
        code: response.status().as_u16(),
        request_id: id.to_str().unwrap_or_default().to_owned(),
        began: SystemTime::now() - took,
        took,
        stages: spent.map(StageTimes::stages).unwrap_or_default(),
        batch_size: spent.map_or(0, |spent| spent.timings.batch_size),
    });
}

/// A trace's id as it is written everywhere.
struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn log(record: &RequestRecord, id: &HeaderValue, trace: TraceContext, response: &Response) {
    let (status, id) = (response.status(), id.to_str().unwrap_or_default());
    let (method, route, code) = (record.method.as_str(), record.route(), status.as_u16());
    let refused = status.is_client_error() || matches!(code, 503 | 504);
    if refused {
        let detail = response
            .extensions()
            .get::<ProblemDetail>()
            .map_or("", |problem| &problem.detail);
        refusal_log::refused(&Refusal {
            route,
            code,
            id,
            detail,
        });
    }
    let trace = TraceId(trace.trace_id);
    let ms = record.arrived.elapsed().as_secs_f64() * 1e3;
    if refused {
        tracing::debug!(id, %trace, method, route, code, ms, "request refused");
    } else if status.is_server_error() {
        tracing::warn!(id, %trace, method, route, code, ms, "request failed");
    } else {
        tracing::debug!(id, %trace, method, route, code, ms, "request completed");
    }
}

/// The client's id where it is sane, otherwise a new one.
fn id_of(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
        (1..=ID_BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// Methods are a closed set in the metrics, whatever clients send.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: &str, kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
        assert_eq!(id_of(&headers) == sent, kept, "{sent:?}");
    }

    #[test]
    fn only_sane_request_ids_are_kept() {
        check("7f3a-42", true);
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
        check("", false);
        check("a b", false);
        check("<script>", false);
    }
}
