//! A request's body: read within its limits and its time, then taken apart into images.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures_util::stream::once;
use http_body_util::BodyExt;
use multer::{Constraints, Multipart, SizeLimit};

use super::error::{Code, Problem};
use super::settings::LimitSettings;
use crate::classify::Item;

/// What is allocated at once on the word of a `content-length`.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// What the content type says about a body.
enum Kind {
    Image,
    Multipart { boundary: String },
}

/// Reads the images of a request.
pub(super) async fn images(
    headers: &HeaderMap,
    body: Body,
    limits: &LimitSettings,
    timeout: Duration,
) -> Result<Vec<Item>, Problem> {
    let kind = kind(headers)?;
    let bytes_max = match kind {
        Kind::Image => limits.image_bytes_max,
        Kind::Multipart { .. } => limits.request_bytes_max,
    };
    let bytes = read(headers, body, bytes_max, timeout).await?;
    match kind {
        Kind::Image if bytes.is_empty() => Err(Problem::new(
            Code::NoImage,
            "the body is empty; send the bytes of an image",
        )),
        Kind::Image => Ok(vec![Item { name: None, bytes }]),
        Kind::Multipart { boundary } => parts(bytes, boundary, limits).await,
    }
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    const HINT: &str =
        "send an image with content-type image/* or application/octet-stream, or images as multipart/form-data";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(Kind::Image);
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/octet-stream" => Ok(Kind::Image),
        "multipart/form-data" => multer::parse_boundary(text)
            .map(|boundary| Kind::Multipart { boundary })
            .map_err(|_| Problem::new(Code::Malformed, "multipart/form-data without a boundary")),
        image if image.starts_with("image/") => Ok(Kind::Image),
        other => Err(Problem::new(
            Code::UnsupportedType,
            format!("content-type {other:?} is not read here; {HINT}"),
        )),
    }
}

/// The whole body, at most `bytes_max` of it, within `timeout`.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    plain(headers)?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let reserve = announced.map_or(0, |length| length as usize).min(RESERVE_BYTES_MAX);
    match tokio::time::timeout(timeout, collect(&mut body, bytes_max, reserve)).await {
        Err(_) => Err(Problem::new(
            Code::BodyTimeout,
            format!("the body did not arrive within {} ms", timeout.as_millis()),
        )),
        Ok(Err(Broken::TooLarge)) => Err(too_large(bytes_max)),
        Ok(Err(Broken::Cut)) => Err(Problem::new(Code::Malformed, "the body ended before it was complete")),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

/// A body that is compressed on the way would have to be unpacked within its limits; images are compressed already.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Problem::new(
            Code::UnsupportedType,
            "a body with a content-encoding is not read here; send it as it is",
        )),
        _ => Ok(()),
    }
}

enum Broken {
    TooLarge,
    Cut,
}

async fn collect(body: &mut Body, bytes_max: usize, reserve: usize) -> Result<Bytes, Broken> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Broken::Cut)?.into_data() else {
            continue;
        };
        if first.as_ref().map_or(all.len(), Bytes::len) + data.len() > bytes_max {
            return Err(Broken::TooLarge);
        }
        if all.is_empty() && first.is_none() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            all.reserve(reserve.max(first.len() + data.len()));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("the body has more than {bytes_max} bytes"))
}

/// Every part of a form is an image; its file name, or else its field's name, is the image's name.
async fn parts(bytes: Bytes, boundary: String, limits: &LimitSettings) -> Result<Vec<Item>, Problem> {
    let size = SizeLimit::new().per_field(limits.image_bytes_max as u64);
    let whole = once(async move { Ok::<_, std::convert::Infallible>(bytes) });
    let mut form = Multipart::with_constraints(whole, boundary, Constraints::new().size_limit(size));
    let mut items = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| broken(&e, items.len(), limits))? {
        if items.len() == limits.request_images_max {
            return Err(Problem::new(
                Code::TooLarge,
                format!("the request has more than {} images", limits.request_images_max),
            ));
        }
        let name = field.file_name().or(field.name()).map(str::to_owned);
        let bytes = field.bytes().await.map_err(|e| broken(&e, items.len(), limits))?;
        if bytes.is_empty() {
            return Err(Problem::new(
                Code::NoImage,
                format!("image {} is empty", items.len() + 1),
            ));
        }
        items.push(Item { name, bytes });
    }
    if items.is_empty() {
        return Err(Problem::new(
            Code::NoImage,
            "the form has no parts; each part is an image",
        ));
    }
    Ok(items)
}

fn broken(error: &multer::Error, index: usize, limits: &LimitSettings) -> Problem {
    match error {
        multer::Error::FieldSizeExceeded { .. } => Problem::new(
            Code::TooLarge,
            format!("image {} has more than {} bytes", index + 1, limits.image_bytes_max),
        ),
        other => Problem::new(
            Code::Malformed,
            format!("not a valid form, after {index} images: {other}"),
        ),
    }
}
