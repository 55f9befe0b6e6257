//! Every error that HTTP can answer: its stable code, status, title and what it counts as, in one table.
//!
//! The body is RFC 9457's `application/problem+json`.

use std::any::Any;
use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::wire;
use crate::classify::Failure;
use crate::telemetry::Reason;
use repserve_preprocess::ImageError;
use repserve_scheduler::Rejected;

/// Characters of a detail at most.
const DETAIL_CHARS_MAX: usize = 1000;

/// What went wrong, stable over versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A query, header or body that does not parse.
    Malformed,
    /// No image in the request.
    NoImage,
    /// No API key, or a wrong one.
    Unauthorized,
    /// There is no such path.
    NotFound,
    /// There is no such model.
    ModelNotFound,
    /// The path does not know this method.
    MethodNotAllowed,
    /// The body did not arrive in time, or too slowly.
    BodyTimeout,
    /// Too many bytes, pixels or images.
    TooLarge,
    /// The content type or the image's format is none that is read.
    UnsupportedType,
    /// The image is broken.
    InvalidImage,
    /// The model's output overflows on this input.
    NotFinite,
    /// The queue is full.
    Overloaded,
    /// The model is not loaded.
    NotReady,
    /// The server goes down.
    Draining,
    /// No answer before the deadline.
    Deadline,
    /// Every connection that may be open has a request.
    NoConnection,
    /// A part of HTTP that is not read here.
    NotImplemented,
    /// Ours.
    Internal,
}

impl Code {
    /// The table: (status, code, title, what it counts as).
    fn row(self) -> (StatusCode, &'static str, &'static str, Option<Reason>) {
        use StatusCode as S;
        let bad = Some(Reason::InvalidImage);
        match self {
            Self::Malformed => (S::BAD_REQUEST, "malformed", "The request cannot be understood", bad),
            Self::NoImage => (S::BAD_REQUEST, "no_image", "The request holds no image", bad),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "An API key is needed", None),
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is no such path", None),
            Self::ModelNotFound => (S::NOT_FOUND, "model_not_found", "There is no such model", None),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The path does not know this method",
                None,
            ),
            Self::BodyTimeout => (
                S::REQUEST_TIMEOUT,
                "body_timeout",
                "The request's body did not arrive in time",
                Some(Reason::Deadline),
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "too_large",
                "The request or an image is too large",
                Some(Reason::TooLarge),
            ),
            Self::UnsupportedType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_type",
                "Not an image type that is read here",
                bad,
            ),
            Self::InvalidImage => (
                S::UNPROCESSABLE_ENTITY,
                "invalid_image",
                "The image cannot be decoded",
                bad,
            ),
            Self::NotFinite => (
                S::UNPROCESSABLE_ENTITY,
                "not_finite",
                "The model's output is not finite",
                bad,
            ),
            Self::Overloaded => (
                S::TOO_MANY_REQUESTS,
                "overloaded",
                "The server is busy",
                Some(Reason::Overloaded),
            ),
            Self::NotReady => (
                S::SERVICE_UNAVAILABLE,
                "not_ready",
                "The server is not ready",
                Some(Reason::NotReady),
            ),
            Self::Draining => (
                S::SERVICE_UNAVAILABLE,
                "draining",
                "The server is going down",
                Some(Reason::Draining),
            ),
            Self::Deadline => (
                S::GATEWAY_TIMEOUT,
                "deadline",
                "No answer before the deadline",
                Some(Reason::Deadline),
            ),
            Self::NoConnection => (
                S::SERVICE_UNAVAILABLE,
                "no_connection",
                "The server has no connection left",
                Some(Reason::Overloaded),
            ),
            Self::NotImplemented => (
                S::NOT_IMPLEMENTED,
                "not_implemented",
                "The request uses a part of HTTP that is not read here",
                None,
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "An error of the server", None),
        }
    }
}

/// An error as HTTP answers it.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    counted: bool,
    cancelled: bool,
}

/// What a refused request counts as; travels with the response to where it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) Reason);

/// What was wrong with a request; travels with the response to where it is logged, and to where its body is written anew.
#[derive(Debug, Clone)]
pub(super) struct Said {
    code: Code,
    pub(super) detail: Cow<'static, str>,
}

impl Said {
    /// The body as JSON; with the detail also as the member `error`, where clients of the Open Inference Protocol look.
    pub(super) fn body(&self, error_member: bool) -> Vec<u8> {
        let (status, code, title, _) = self.code.row();
        let body = wire::Problem {
            kind: format!("urn:repserve:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code,
            error: error_member.then_some(&*self.detail),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Problem {
    /// An error with what is to be said of this case.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: bounded(detail.into()),
            retry_after: None,
            counted: true,
            cancelled: false,
        }
    }

    /// The same, with when to try again.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The same for a request that asked for no prediction.
    pub(super) fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }

    /// The same where its sender does not wait for the answer: it counts as cancelled.
    pub(super) fn cancelled(mut self) -> Self {
        self.cancelled = true;
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code.row().1
    }

    /// What is to be said of this case.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// An error of which only the log may know more.
    pub(super) fn internal() -> Self {
        Self::new(Code::Internal, "the server's log says more, under this request's id")
    }

    /// What a handler's panic is answered with; the log has its message.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        tracing::error!(panic = text, "a handler panicked");
        Self::internal()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, _, _, reason) = self.code.row();
        let said = Said {
            code: self.code,
            detail: self.detail,
        };
        let mut response = (status, said.body(false)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(said);
        let reason = if self.cancelled {
            Some(Reason::Cancelled)
        } else {
            reason
        };
        if let Some(reason) = reason.filter(|_| self.counted) {
            response.extensions_mut().insert(Refused(reason));
        }
        response
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Overloaded { retry_after } => {
                Self::new(Code::Overloaded, "the queue is full").retry_after(retry_after)
            }
            Rejected::TooMany { capacity } => Self::new(
                Code::TooLarge,
                format!("the request has more images than the queue has places ({capacity})"),
            ),
            Rejected::Expired => Self::new(Code::Deadline, "the deadline passed before the request was admitted"),
            Rejected::Draining => Self::new(Code::Draining, "the server is going down"),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(rejected) => rejected.into(),
            Failure::Invalid { part, error } => Self::new(code_of(&error), format!("{part}: {error}")),
            Failure::TooMuchWork(work) => Self::new(Code::TooLarge, work.to_string()),
            Failure::Expired => Self::new(Code::Deadline, "the deadline passed while the request waited"),
            Failure::Aborted => Self::new(Code::Draining, "the server went down before the request was answered"),
            Failure::NotFinite => Self::new(
                Code::NotFinite,
                "the model's output is NaN or infinity for this input; its values may be too large",
            ),
            Failure::Session(_) => Self::internal(),
        }
    }
}

/// A detail of a bounded length, whatever it was made of.
fn bounded(detail: Cow<'static, str>) -> Cow<'static, str> {
    match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &detail[..end])),
        None => detail,
    }
}

fn code_of(error: &ImageError) -> Code {
    match error {
        ImageError::TooManyBytes { .. } | ImageError::TooManyPixels { .. } | ImageError::TooMuchMemory { .. } => {
            Code::TooLarge
        }
        ImageError::UnknownFormat { .. } | ImageError::Unsupported { .. } => Code::UnsupportedType,
        ImageError::Corrupt { .. } => Code::InvalidImage,
    }
}
