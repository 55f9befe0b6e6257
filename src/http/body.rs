//! A request's body: read within its limits and its time, then taken apart into images.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::body_budget::{BodyCharge, OverBudget};
use super::compression::{Coding, RATIO_MAX, UnpackError};
use super::echo::echo;
use super::error::{Code, Problem};
use super::offload::offload;
use super::pace::{MinimumRate, Pace};
use super::settings::{LimitSettings, ServerSettings};
use super::{form, json_image};
use crate::classify::Item;
use repserve_preprocess::ByteSize;

/// What is allocated at once for an announced `content-length`.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// A kind of body, by its content type.
enum BodyKind {
    Image,
    Multipart {
        boundary: String,
    },
    /// An object that holds an image as text.
    Json,
}

/// What a request's head says of its body.
pub(super) struct Announced {
    kind: BodyKind,
    bytes_max: usize,
    /// Its length, where that is known.
    pub(super) bytes: Option<u64>,
}

/// What a head says of the body behind it, as far as it may be read.
pub(super) fn announced(headers: &HeaderMap, limits: &LimitSettings) -> Result<Announced, Problem> {
    let kind = kind(headers)?;
    let bytes_max = match kind {
        BodyKind::Image => limits.image_bytes_max,
        BodyKind::Multipart { .. } => limits.request_bytes_max,
        BodyKind::Json => json_image::bytes_max(limits),
    };
    let bytes = length(headers, bytes_max)?;
    Ok(Announced { kind, bytes_max, bytes })
}

/// Reads the images of a request.
pub(super) async fn images(
    announced: Announced,
    headers: &HeaderMap,
    body: Body,
    charge: &BodyCharge,
    limits: &Arc<LimitSettings>,
    within: BodyTimeouts,
) -> Result<Vec<Item>, Problem> {
    let bytes = read(headers, body, announced.bytes_max, charge, within).await?;
    match announced.kind {
        BodyKind::Image if bytes.is_empty() => Err(Problem::new(
            Code::NoImage,
            "the body is empty; send the bytes of an image",
        )),
        BodyKind::Image => Ok(vec![Item { name: None, bytes }]),
        BodyKind::Multipart { boundary } => {
            // The images are copies of its parts.
            charge.hold(bytes.len().saturating_mul(2))?;
            let limits = Arc::clone(limits);
            let items = offload(charge.client(), bytes.len(), move || {
                form::images(bytes, boundary, &limits)
            })
            .await??;
            charge.hold(items.iter().map(|item| item.bytes.len()).sum())?;
            Ok(items)
        }
        BodyKind::Json => {
            // The text without its escapes, and the image.
            charge.hold(bytes.len().saturating_mul(3))?;
            let limits = Arc::clone(limits);
            let item = offload(charge.client(), bytes.len(), move || json_image::read(&bytes, &limits)).await??;
            charge.hold(item.bytes.len())?;
            Ok(vec![item])
        }
    }
}

fn kind(headers: &HeaderMap) -> Result<BodyKind, Problem> {
    const HINT: &str = "send an image with content-type image/* or application/octet-stream, images as multipart/form-data, \
                        or an image as base64 in application/json";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(BodyKind::Image);
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        // The second one is what S3 says of what it knows nothing of.
        "application/octet-stream" | "binary/octet-stream" => Ok(BodyKind::Image),
        "application/json" => Ok(BodyKind::Json),
        "multipart/form-data" => multer::parse_boundary(text)
            .map(|boundary| BodyKind::Multipart { boundary })
            .map_err(|_| Problem::new(Code::Malformed, "multipart/form-data without a boundary")),
        image if image.starts_with("image/") => Ok(BodyKind::Image),
        other => Err(Problem::new(
            Code::UnsupportedType,
            format!("content-type {:?} is not read here; {HINT}", echo(other)),
        )),
    }
}

/// How fast a body must arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimeouts {
    /// All of it.
    timeout: Duration,
    rate: MinimumRate,
}

impl BodyTimeouts {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            timeout: settings.body_timeout(),
            rate: settings.body_rate(),
        }
    }
}

/// The whole body, unpacked, at most `bytes_max` of it. The request is charged for what unpacking takes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    charge: &BodyCharge,
    within: BodyTimeouts,
) -> Result<Bytes, Problem> {
    let announced = length(headers, bytes_max)?;
    let coding = coding(headers)?;
    let reserve = announced.map_or(0, |length| length as usize).min(RESERVE_BYTES_MAX);
    let packed = read_whole(body, bytes_max, reserve, within).await?;
    if coding == Coding::Identity {
        return Ok(packed);
    }
    let (bytes, charge) = (packed.len(), charge.clone());
    let unpacked = offload(charge.client(), bytes.saturating_mul(RATIO_MAX), move || {
        coding.unpack(packed, bytes_max, |held| charge.hold(bytes.saturating_add(held)))
    });
    Ok(unpacked.await??)
}

/// The whole body as it was sent, at most `bytes_max` of it.
pub(super) async fn read_as_sent(body: Body, bytes_max: usize, within: BodyTimeouts) -> Result<Bytes, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    read_whole(body, bytes_max, announced.min(RESERVE_BYTES_MAX), within).await
}

async fn read_whole(mut body: Body, bytes_max: usize, reserve: usize, within: BodyTimeouts) -> Result<Bytes, Problem> {
    let collected = collect(&mut body, bytes_max, reserve, within.rate);
    let error = match tokio::time::timeout(within.timeout, collected).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(error)) => error,
        Err(_) => ReadError::Late,
    };
    Err(match error {
        ReadError::TooLarge => too_large(bytes_max),
        ReadError::OverBudget(over_budget) => over_budget.into(),
        ReadError::Cut => Problem::new(Code::Malformed, "the body ended before it was complete").cancelled(),
        ReadError::Malformed => Problem::new(Code::Malformed, "the body is not chunked as HTTP requires it"),
        ReadError::Late => Problem::new(
            Code::BodyTimeout,
            format!("the body did not arrive within {} ms", within.timeout.as_millis()),
        ),
        ReadError::Slow => Problem::new(
            Code::BodyTimeout,
            format!(
                "less than {} bytes a second of the body arrived over {} ms",
                within.rate.bytes_per_second,
                within.rate.window.as_millis()
            ),
        ),
    })
}

/// The length of a body that may be read, where its head tells.
pub(super) fn length(headers: &HeaderMap, bytes_max: usize) -> Result<Option<u64>, Problem> {
    coding(headers)?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    Ok(announced)
}

/// Whether a body is compressed.
pub(super) fn is_packed(headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(coding(headers)? != Coding::Identity)
}

/// How a body is compressed.
fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let known = match (values.next(), values.next()) {
        (None, _) => Some(Coding::Identity),
        (Some(value), None) => value.to_str().ok().and_then(Coding::called),
        (Some(_), Some(_)) => None,
    };
    known.ok_or_else(|| {
        Problem::new(
            Code::UnsupportedType,
            "the body's content-encoding is not read here; send it as it is, or compressed once with gzip or deflate",
        )
    })
}

/// Why a body could not be read whole.
#[derive(Debug)]
enum ReadError {
    TooLarge,
    OverBudget(OverBudget),
    /// Its sender closed the connection, or half of it.
    Cut,
    /// It breaks the rules of its transfer encoding.
    Malformed,
    Late,
    Slow,
}

impl From<axum::Error> for ReadError {
    fn from(error: axum::Error) -> Self {
        let mut source: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(error) = source {
            if let Some(over_budget) = error.downcast_ref::<OverBudget>() {
                return Self::OverBudget(*over_budget);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return match error.kind() {
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Malformed,
                    _ => Self::Cut,
                };
            }
            source = error.source();
        }
        Self::Cut
    }
}

/// The next part of a body, unless it is too slow.
async fn next_chunk(body: &mut Body, pace: &mut Pace) -> Result<Option<Bytes>, ReadError> {
    loop {
        let frame = match pace.due() {
            None => body.frame().await,
            Some(due) => match tokio::time::timeout_at(due.into(), body.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    if !pace.judge(Instant::now().max(due)) {
                        return Err(ReadError::Slow);
                    }
                    continue;
                }
            },
        };
        match frame {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    pace.arrived(data.len());
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn collect(body: &mut Body, bytes_max: usize, reserve: usize, rate: MinimumRate) -> Result<Bytes, ReadError> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    let mut pace = Pace::new(rate, Instant::now());
    while let Some(data) = next_chunk(body, &mut pace).await? {
        if first.as_ref().map_or(all.len(), Bytes::len) + data.len() > bytes_max {
            return Err(ReadError::TooLarge);
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

impl From<UnpackError<OverBudget>> for Problem {
    fn from(error: UnpackError<OverBudget>) -> Self {
        let detail = error.to_string();
        match error {
            UnpackError::TooLarge(_) | UnpackError::AnnouncedTooLarge { .. } => Self::new(Code::TooLarge, detail),
            UnpackError::Broken { .. } => Self::new(Code::Malformed, detail),
            UnpackError::Refused(over_budget) => over_budget.into(),
        }
    }
}

/// Why a body cannot be read on.
pub(super) fn broken(error: axum::Error) -> Problem {
    match ReadError::from(error) {
        ReadError::OverBudget(over_budget) => over_budget.into(),
        _ => Problem::new(Code::Malformed, "the body ended before it was complete").cancelled(),
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("the body has more than {}", ByteSize(bytes_max as u64)),
    )
}
