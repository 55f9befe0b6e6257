//! W3C Trace Context, `traceparent` in and out, and what else callers send with it ([`Carried`]).

pub(super) mod baggage;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a request brings for its span beside its place in the trace.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// `tracestate`: what the tracing systems before this one noted.
    pub(super) state: String,
    /// Keys and values of `baggage`.
    pub(super) baggage: Vec<(String, String)>,
}

impl Carried {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let state = headers
            .get_all(TRACESTATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Self {
            state: state.collect::<Vec<_>>().join(","),
            baggage: baggage::of(headers),
        }
    }
}

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceContext {
    /// Of the whole trace.
    pub(super) trace_id: u128,
    /// Of this request.
    pub(super) span_id: u64,
    /// Of the caller's span.
    pub(super) parent_id: Option<u64>,
    /// Whether the trace is recorded.
    pub(super) sampled: bool,
}

impl TraceContext {
    /// Continues the trace that a request's headers name, or begins one.
    pub(super) fn of(headers: &HeaderMap, sample: impl FnOnce() -> bool) -> Self {
        let mut named = headers.get_all(TRACEPARENT).iter();
        let parent = match (named.next(), named.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        let span_id = fastrand::u64(1..);
        match parent {
            Some((trace_id, parent, sampled)) => Self {
                trace_id,
                span_id,
                parent_id: Some(parent),
                sampled,
            },
            None => Self {
                trace_id: fastrand::u128(1..),
                span_id,
                parent_id: None,
                sampled: sample(),
            },
        }
    }

    /// The header of the response, which names this request's span.
    pub(super) fn header(&self) -> HeaderValue {
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        );
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// `version-traceid-parentid-flags`, lower-case hexadecimal; a later version may append what is not read here.
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let mut hex = |digits: usize| {
        let part = parts.next().filter(|p| p.len() == digits)?;
        let lower = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        lower.then(|| u128::from_str_radix(part, 16).ok()).flatten()
    };
    let version = hex(2)?;
    let trace_id = hex(32).filter(|id| *id != 0)?;
    let parent_id = hex(16).filter(|id| *id != 0)?;
    let flags = hex(2)?;
    let more = parts.next().is_some();
    if version == 0xff || (version == 0 && more) {
        return None;
    }
    Some((trace_id, u64::try_from(parent_id).ok()?, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[track_caller]
    fn check(value: &str, expected: Option<bool>) {
        let got = parse(value.as_bytes());
        let expected = expected.map(|sampled| (0x4bf92f3577b34da6a3ce929d0e0e4736, 0x00f067aa0ba902b7, sampled));
        assert_eq!(got, expected, "{value}");
    }

    #[test]
    fn only_valid_contexts_are_continued() {
        check(&format!("00-{TRACE}-{PARENT}-01"), Some(true));
        check(&format!("00-{TRACE}-{PARENT}-00"), Some(false));
        check(&format!("cc-{TRACE}-{PARENT}-03-more"), Some(true));
        check(&format!("00-{TRACE}-{PARENT}-01-more"), None);
        check(&format!("ff-{TRACE}-{PARENT}-01"), None);
        check(&format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{}-{PARENT}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{TRACE}-{PARENT}"), None);
        check("", None);
        check("00-\u{e9}", None);
    }

    #[test]
    fn the_response_names_the_trace_and_a_span_of_its_own() {
        let mut headers = HeaderMap::new();
        headers.insert(
            TRACEPARENT,
            HeaderValue::try_from(format!("00-{TRACE}-{PARENT}-01")).unwrap(),
        );
        let context = TraceContext::of(&headers, || false);
        let header = context.header();
        let (trace_id, span_id, sampled) = parse(header.as_bytes()).unwrap();
        assert_eq!((trace_id, span_id, sampled), (context.trace_id, context.span_id, true));
        assert_ne!(Some(span_id), context.parent_id);

        let begun = TraceContext::of(&HeaderMap::new(), || false);
        assert_eq!((begun.parent_id, begun.sampled), (None, false));
        assert!(parse(begun.header().as_bytes()).is_some());

        headers.append(TRACEPARENT, HeaderValue::from_static("00-1-2-01"));
        assert_eq!(TraceContext::of(&headers, || true).parent_id, None);
    }
}
