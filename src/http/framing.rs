//! What RFC 9112 requires of a request's head and hyper leaves to the server: exactly one `host` (section 3.2; none in HTTP/2), no transfer coding
//! but `chunked` (6.1), a `content-length` that a length can have (6.3).
//!
//! Where the head is ambiguous, so is the end of the message: the connection closes after the response.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Version};

use super::error::{Code, Problem};

/// Whether a head is as it has to be. Where it is not, the connection has to be closed after the response.
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    host(request.version(), request.headers())?;
    transfer_coding(request.headers())?;
    length(request.headers())
}

fn host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let malformed = |detail: &'static str| Err(Problem::new(Code::Malformed, detail).uncounted());
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (first, second) {
        (None, _) if version == Version::HTTP_11 => malformed("the request has no `host` header; HTTP/1.1 needs one"),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => malformed("the request has more than one `host` header"),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => malformed("the `host` header names no host"),
    }
}

/// A name or an address with or without a port; empty where the target has no authority.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || (!value.contains(&b'@') && Authority::try_from(value).is_ok())
}

fn transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if chunked(coding) => Ok(()),
        _ => Err(Problem::new(
            Code::NotImplemented,
            "no transfer coding but `chunked` is read here",
        )),
    }
}

/// hyper refuses what is no number of 64 bits; lengths are compared as signed numbers elsewhere.
fn length(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if i64::try_from(length).is_err() => Err(Problem::new(
            Code::Malformed,
            "the `content-length` is beyond what a body can have (2^63 bytes)",
        )
        .uncounted()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn check_host(version: Version, values: &[&'static str], sound: bool) {
        assert_eq!(host(version, &headers(HOST, values)).is_ok(), sound, "{values:?}");
    }

    #[test]
    fn a_request_of_http_1_1_has_one_host() {
        for good in ["x", "localhost:8080", "127.0.0.1", "[::1]:80", "a.test", ""] {
            check_host(Version::HTTP_11, &[good], true);
        }
        for bad in ["a b", "http://a", "a/b", "u@a", "a?b", "a#b"] {
            check_host(Version::HTTP_11, &[bad], false);
        }
        check_host(Version::HTTP_11, &[], false);
        check_host(Version::HTTP_10, &[], true);
        // It has `:authority` instead (RFC 9113, section 8.3.1).
        check_host(Version::HTTP_2, &[], true);
        check_host(Version::HTTP_11, &["x", "x"], false);
        check_host(Version::HTTP_10, &["x", "y"], false);
    }

    #[track_caller]
    fn check_coding(values: &[&'static str], sound: bool) {
        let outcome = transfer_coding(&headers(TRANSFER_ENCODING, values));
        assert_eq!(outcome.is_ok(), sound, "{values:?}");
    }

    #[test]
    fn only_chunked_is_read() {
        check_coding(&[], true);
        check_coding(&["chunked"], true);
        check_coding(&["Chunked"], true);
        check_coding(&["gzip, chunked"], false);
        check_coding(&["gzip", "chunked"], false);
        check_coding(&["chunked, chunked"], false);
        check_coding(&["chunked;x=y"], false);
    }

    #[test]
    fn a_length_has_63_bits() {
        let outcome = |value| length(&headers(CONTENT_LENGTH, &[value])).is_ok();
        assert!(outcome("0") && outcome("9223372036854775807"));
        assert!(!outcome("9223372036854775808") && !outcome("18446744073709551613"));
    }
}
