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
    unpacked(split(body)?, coding, bytes_max, charge).await
}

/// A message as it was framed.
#[derive(Debug, PartialEq)]
pub(super) struct Framed {
    pub(super) compressed: bool,
    pub(super) bytes: Bytes,
}

/// Takes the first message off what has arrived of a call, where all of it has.
///
/// # Errors
/// What is no frame, or a message of more than `bytes_max`.
pub(super) fn first(arrived: &mut BytesMut, bytes_max: usize) -> Result<Option<Framed>, Problem> {
    let Some((prefix, message)) = arrived.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [flag, length @ ..] = *prefix;
    let compressed = is_compressed(flag)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        let detail = format!("a message has {length} bytes; {bytes_max} are read");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    if message.len() < length {
        return Ok(None);
    }
    arrived.advance(PREFIX_BYTES);
    Ok(Some(Framed {
        compressed,
        bytes: arrived.split_to(length).freeze(),
    }))
}

/// A message, unpacked; the request is charged for what that takes.
pub(super) async fn unpacked(
    message: Framed,
    coding: Coding,
    bytes_max: usize,
    charge: &BodyCharge,
) -> Result<Bytes, Problem> {
    let Framed {
        compressed,
        bytes: message,
    } = message;
    if !compressed {
        return Ok(message);
    }
    if coding == Coding::Identity {
        return Err(malformed("the message is compressed, and no `grpc-encoding` says how"));
    }
    let (bytes, charge) = (message.len(), charge.clone());
    let unpacked = offload(charge.client(), bytes.saturating_mul(RATIO_MAX), move || {
        coding.unpack(message, bytes_max, |held| charge.hold(bytes.saturating_add(held)))
    });
    Ok(unpacked.await??)
}

/// Whether the one message of a body is compressed, and the message.
fn split(mut body: Bytes) -> Result<Framed, Problem> {
    if body.is_empty() {
        return Err(malformed("the request has no message"));
    }
    if body.len() < PREFIX_BYTES {
        return Err(malformed("the request's message is cut off"));
    }
    let (flag, length) = (body.get_u8(), body.get_u32() as usize);
    let compressed = is_compressed(flag)?;
    if length > body.len() {
        return Err(malformed("the request's message is cut off"));
    }
    if length < body.len() {
        return Err(malformed("the request has more than one message; the method takes one"));
    }
    Ok(Framed {
        compressed,
        bytes: body,
    })
}

fn is_compressed(flag: u8) -> Result<bool, Problem> {
    match flag {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(malformed("the first byte of a message is neither 0 nor 1")),
    }
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(Code::Malformed, detail)
}

/// A message in its frame.
pub(super) fn framed(message: &impl Message) -> Result<Bytes, Problem> {
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
    Ok(framed.freeze())
}

/// The response that holds a message.
pub(super) fn respond(message: &impl Message) -> Result<Response, Problem> {
    Ok(response_of(framed(message)?))
}

/// The response that holds a message in its frame.
pub(super) fn response_of(framed: Bytes) -> Response {
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(framed).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: Result<(bool, &[u8]), &str>) {
        match (split(Bytes::copy_from_slice(body)), expected) {
            (Ok(message), Ok(expected)) => assert_eq!((message.compressed, &message.bytes[..]), expected),
            (Err(problem), Err(expected)) => assert!(problem.detail().contains(expected), "{}", problem.detail()),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_messages_of_a_call_are_taken_one_by_one() {
        let mut arrived = BytesMut::from(&b"\0\0\0\0\x02ab\x01\0\0\0\x01c\0\0\0\0\x03d"[..]);
        let mut taken = || {
            let message = first(&mut arrived, 3).unwrap();
            message.map(|message| (message.compressed, message.bytes))
        };
        assert_eq!(taken(), Some((false, Bytes::from_static(b"ab"))));
        assert_eq!(taken(), Some((true, Bytes::from_static(b"c"))));
        assert_eq!((taken(), taken()), (None, None));
        assert_eq!(&arrived[..], b"\0\0\0\0\x03d");
        let refused = |bytes: &[u8]| first(&mut BytesMut::from(bytes), 3).unwrap_err().detail().to_owned();
        assert!(refused(b"\0\0\0\0\x04").contains("a message has 4 bytes; 3 are read"));
        assert!(refused(b"\x07\0\0\0\0").contains("neither 0 nor 1"));
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_arrive(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            step in 1usize..12,
        ) {
            let frame = |message: &Vec<u8>| [&[0, 0, 0, 0, message.len() as u8], &message[..]].concat();
            let bytes: Vec<u8> = sent.iter().flat_map(frame).collect();
            let mut arrived = BytesMut::new();
            let mut taken = Vec::new();
            for part in bytes.chunks(step) {
                arrived.extend_from_slice(part);
                while let Some(message) = first(&mut arrived, 9).unwrap() {
                    taken.push(message.bytes.to_vec());
                }
            }
            prop_assert_eq!(taken, sent);
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut arrived = BytesMut::from(&bytes[..]);
            while let Ok(Some(message)) = first(&mut arrived, 20) {
                prop_assert!(message.bytes.len() <= 20);
            }
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
