//! Messages as gRPC frames them: a byte that says whether it is compressed, its length, the message. Bytes in, a message out, and back.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use prost::Message;

use crate::http::body_budget::BodyCharge;
use crate::http::compression::{Coding, RATIO_MAX};
use crate::http::error::{Code, Problem};
use crate::http::offload::offload;

/// Bytes in front of a message.
pub(super) const PREFIX_BYTES: usize = 5;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How a request's messages are compressed.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let Some(value) = headers.get(ENCODING) else {
        return Ok(Coding::Identity);
    };
    value.to_str().ok().and_then(Coding::called).ok_or_else(|| {
        Problem::new(
            Code::NotImplemented,
            "messages are read as they are (identity), or compressed with gzip or deflate",
        )
    })
}

/// The one message of a request's body, unpacked; the request is charged for what that takes.
pub(super) async fn message(
    body: Bytes,
    coding: Coding,
    bytes_max: usize,
    charge: &BodyCharge,
) -> Result<Bytes, Problem> {
    let (compressed, message) = split(body)?;
    if !compressed {
        return Ok(message);
    }
    if coding == Coding::Identity {
        return Err(malformed("the message is compressed, and no `grpc-encoding` says how"));
    }
    let (bytes, charge) = (message.len(), charge.clone());
    let unpacked = offload(bytes.saturating_mul(RATIO_MAX), move || {
        coding.unpack(message, bytes_max, |held| charge.hold(bytes.saturating_add(held)))
    });
    Ok(unpacked.await??)
}

/// Whether the one message of a body is compressed, and the message.
fn split(mut body: Bytes) -> Result<(bool, Bytes), Problem> {
    if body.is_empty() {
        return Err(malformed("the request has no message"));
    }
    if body.len() < PREFIX_BYTES {
        return Err(malformed("the request's message is cut off"));
    }
    let (flag, length) = (body.get_u8(), body.get_u32() as usize);
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(malformed("the first byte of a message is neither 0 nor 1")),
    };
    if length > body.len() {
        return Err(malformed("the request's message is cut off"));
    }
    if length < body.len() {
        return Err(malformed("the request has more than one message; the method takes one"));
    }
    Ok((compressed, body))
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(Code::Malformed, detail)
}

/// The response that holds a message.
pub(super) fn respond(message: &impl Message) -> Result<Response, Problem> {
    let length = message.encoded_len();
    let Ok(prefix) = u32::try_from(length) else {
        return Err(Problem::new(Code::TooLarge, "the response has more than 4 GiB"));
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_u32(prefix);
    message.encode(&mut framed).map_err(|error| {
        tracing::error!(%error, "cannot encode a response");
        Problem::internal()
    })?;
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: Result<(bool, &[u8]), &str>) {
        match (split(Bytes::copy_from_slice(body)), expected) {
            (Ok((compressed, message)), Ok(expected)) => assert_eq!((compressed, &message[..]), expected),
            (Err(problem), Err(expected)) => assert!(problem.detail().contains(expected), "{}", problem.detail()),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_body_holds_one_message() {
        check(b"\0\0\0\0\x02ab", Ok((false, b"ab")));
        check(b"\x01\0\0\0\0", Ok((true, b"")));
        check(b"", Err("no message"));
        check(b"\0\0\0", Err("cut off"));
        check(b"\0\0\0\0\x03ab", Err("cut off"));
        check(b"\0\xff\xff\xff\xffab", Err("cut off"));
        check(b"\0\0\0\0\x01ab", Err("more than one message"));
        check(b"\x02\0\0\0\0", Err("neither 0 nor 1"));
    }
}
