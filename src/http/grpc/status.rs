//! Problems as gRPC tells them: the status in the response's head, `grpc-status` and `grpc-message`, by the one table of errors.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use axum::response::Response;
use tonic::Status;

use crate::http::error::{Code, Problem, ProblemDetail};

/// The error's stable code.
const CODE: HeaderName = HeaderName::from_static("repserve-code");
/// When to try again, as gRPC's clients read it.
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// Bytes of a message at most, in percent-encoding: clients take no more than 8 KiB of a head.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Whether a request is gRPC.
pub(in crate::http) fn is_call(request: &Request) -> bool {
    request.version() == Version::HTTP_2 && is_grpc(request.headers())
}

/// What is returned for a request that is not.
pub(in crate::http) fn only_calls() -> Problem {
    let detail = "gRPC is served here, over HTTP/2 with content-type application/grpc; HTTP is served at server.listen";
    Problem::new(Code::UnsupportedType, detail).uncounted()
}

/// Makes the response to a call one of gRPC: a problem becomes a status.
pub(in crate::http) fn translate(response: &mut Response) {
    let codings = HeaderValue::from_static("identity,deflate,gzip");
    response.headers_mut().insert(ACCEPT_ENCODING, codings);
    if let Some(problem) = response.extensions_mut().remove::<ProblemDetail>() {
        become_status(&problem, response);
    }
}

fn become_status(problem: &ProblemDetail, response: &mut Response) {
    *response.body_mut() = Body::empty();
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    if let Some(seconds) = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
    {
        headers.insert(RETRY_PUSHBACK, HeaderValue::from(seconds.saturating_mul(1000)));
    }
    headers.insert(CODE, HeaderValue::from_static(problem.code().name()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let code = problem.code().grpc();
    if Status::new(code, bounded(&problem.detail)).add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(code as i32));
    }
}

/// The trailers that end a call.
pub(super) fn trailers(outcome: Result<(), &Problem>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let (code, detail) = match outcome {
        Ok(()) => (tonic::Code::Ok, ""),
        Err(problem) => {
            trailers.insert(CODE, HeaderValue::from_static(problem.code().name()));
            (problem.code().grpc(), problem.detail())
        }
    };
    if Status::new(code, bounded(detail)).add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(code as i32));
    }
    trailers
}

/// As much of a message as a head may hold.
fn bounded(detail: &str) -> &str {
    let mut bytes = 0;
    let end = detail.char_indices().find(|(_, c)| {
        bytes += if c.is_ascii_alphanumeric() { 1 } else { 3 * c.len_utf8() };
        bytes > MESSAGE_BYTES_MAX
    });
    end.map_or(detail, |(end, _)| &detail[..end])
}

/// Whether a request's content type is gRPC's with protobuf.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn a_message_fits_into_a_head() {
        assert_eq!(bounded("short"), "short");
        assert_eq!(bounded(&"a".repeat(9000)).len(), 4096);
        let wide = "\u{4e00}".repeat(1000);
        assert_eq!(bounded(&wide).chars().count(), 4096 / 9);
    }

    #[test]
    fn a_call_ends_with_its_status() {
        let ended = trailers(Ok(()));
        assert_eq!(
            (&ended["grpc-status"], ended.len()),
            (&HeaderValue::from_static("0"), 1)
        );
        let ended = trailers(Err(&Problem::new(Code::Draining, "it goes down")));
        let trailer = |name: &str| ended[name].to_str().unwrap();
        assert_eq!((trailer("grpc-status"), trailer("repserve-code")), ("14", "draining"));
        assert_eq!(trailer("grpc-message"), "it%20goes%20down");
    }

    #[test]
    fn a_problem_becomes_a_status() {
        let problem = Problem::new(Code::Overloaded, "ü busy").retry_soon();
        let mut response = problem.into_response();
        let detail = response.extensions_mut().remove::<ProblemDetail>().unwrap();
        become_status(&detail, &mut response);
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("grpc-status"), "14");
        assert_eq!(header("grpc-message"), "%C3%BC%20busy");
        assert_eq!(header("repserve-code"), "overloaded");
        assert_eq!(header("grpc-retry-pushback-ms"), "1000");
        assert_eq!(header("content-type"), "application/grpc");
    }
}
