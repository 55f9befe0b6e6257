//! Every error that a response can carry: its stable code, its status in HTTP and gRPC, its title and what it counts as, in one table.
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
use repserve_scheduler::Rejected;

/// Characters of a detail at most.
const DETAIL_CHARS_MAX: usize = 1000;

/// What went wrong, stable over versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
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
    /// A model cannot be served as its files are.
    ModelRefused,
    /// A model was unloaded while it was loaded.
    Unloaded,
    /// Models are not loaded and unloaded by requests here.
    NoControl,
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
    /// No response before the deadline.
    Deadline,
    /// Every connection that may be open has a request.
    NoConnection,
    /// A part of HTTP that is not read here.
    NotImplemented,
    /// An error of the server itself.
    Internal,
}

impl Code {
    /// All of them, in order.
    const ALL: [Self; Self::Internal as usize + 1] = [
        Self::Malformed,
        Self::NoImage,
        Self::Unauthorized,
        Self::NotFound,
        Self::ModelNotFound,
        Self::ModelRefused,
        Self::Unloaded,
        Self::NoControl,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::TooLarge,
        Self::UnsupportedType,
        Self::InvalidImage,
        Self::NotFinite,
        Self::Overloaded,
        Self::NotReady,
        Self::Draining,
        Self::Deadline,
        Self::NoConnection,
        Self::NotImplemented,
        Self::Internal,
    ];

    /// The error with this code, as the other parts of the server name it; [`Code::Internal`] where the table has none.
    fn of(code: &str) -> Self {
        let known = Self::ALL.into_iter().find(|known| known.name() == code);
        known.unwrap_or(Self::Internal)
    }

    /// What clients know it by.
    pub(super) fn name(self) -> &'static str {
        self.row().2
    }

    /// gRPC's status.
    pub(super) fn grpc(self) -> tonic::Code {
        self.row().1
    }

    /// The table: (status, gRPC's status, code, title, what it counts as).
    #[expect(clippy::too_many_lines, reason = "one table, a row an error")]
    fn row(self) -> (StatusCode, tonic::Code, &'static str, &'static str, Option<Reason>) {
        use StatusCode as S;
        use tonic::Code as G;

        let bad = Some(Reason::InvalidImage);
        match self {
            Self::Malformed => (
                S::BAD_REQUEST,
                G::InvalidArgument,
                "malformed",
                "The request cannot be understood",
                bad,
            ),
            Self::NoImage => (
                S::BAD_REQUEST,
                G::InvalidArgument,
                "no_image",
                "The request holds no image",
                bad,
            ),
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                G::Unauthenticated,
                "unauthorized",
                "An API key is needed",
                None,
            ),
            Self::NotFound => (
                S::NOT_FOUND,
                G::Unimplemented,
                "not_found",
                "There is no such path",
                None,
            ),
            Self::ModelNotFound => (
                S::NOT_FOUND,
                G::NotFound,
                "model_not_found",
                "There is no such model",
                None,
            ),
            Self::ModelRefused => (
                S::UNPROCESSABLE_ENTITY,
                G::FailedPrecondition,
                "model_refused",
                "The model cannot be served",
                None,
            ),
            Self::Unloaded => (
                S::CONFLICT,
                G::Aborted,
                "unloaded",
                "The model was unloaded meanwhile",
                None,
            ),
            Self::NoControl => (
                S::FORBIDDEN,
                G::PermissionDenied,
                "no_control",
                "Models are not loaded by requests here",
                None,
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                G::Unimplemented,
                "method_not_allowed",
                "The path does not know this method",
                None,
            ),
            Self::BodyTimeout => (
                S::REQUEST_TIMEOUT,
                G::DeadlineExceeded,
                "body_timeout",
                "The request's body did not arrive in time",
                Some(Reason::Deadline),
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                G::ResourceExhausted,
                "too_large",
                "The request or an image is too large",
                Some(Reason::TooLarge),
            ),
            Self::UnsupportedType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                G::InvalidArgument,
                "unsupported_type",
                "Not an image type that is read here",
                bad,
            ),
            Self::InvalidImage => (
                S::UNPROCESSABLE_ENTITY,
                G::InvalidArgument,
                "invalid_image",
                "The image cannot be decoded",
                bad,
            ),
            Self::NotFinite => (
                S::UNPROCESSABLE_ENTITY,
                G::InvalidArgument,
                "not_finite",
                "The model's output is not finite",
                bad,
            ),
            Self::Overloaded => (
                S::TOO_MANY_REQUESTS,
                G::Unavailable,
                "overloaded",
                "The server is busy",
                Some(Reason::Overloaded),
            ),
            Self::NotReady => (
                S::SERVICE_UNAVAILABLE,
                G::Unavailable,
                "not_ready",
                "The server is not ready",
                Some(Reason::NotReady),
            ),
            Self::Draining => (
                S::SERVICE_UNAVAILABLE,
                G::Unavailable,
                "draining",
                "The server is going down",
                Some(Reason::Draining),
            ),
            Self::Deadline => (
                S::GATEWAY_TIMEOUT,
                G::DeadlineExceeded,
                "deadline",
                "No response before the deadline",
                Some(Reason::Deadline),
            ),
            Self::NoConnection => (
                S::SERVICE_UNAVAILABLE,
                G::Unavailable,
                "no_connection",
                "The server has no connection left",
                Some(Reason::Overloaded),
            ),
            Self::NotImplemented => (
                S::NOT_IMPLEMENTED,
                G::Unimplemented,
                "not_implemented",
                "The request uses a part of HTTP that is not read here",
                None,
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                G::Internal,
                "internal",
                "An error of the server",
                None,
            ),
        }
    }
}

/// An error as an HTTP response carries it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
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
pub(super) struct ProblemDetail {
    code: Code,
    pub(super) detail: Cow<'static, str>,
}

impl ProblemDetail {
    /// What went wrong.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The body as JSON; with the detail also as the member `error`, where clients of the Open Inference Protocol look.
    pub(super) fn body(&self, error_member: bool) -> Vec<u8> {
        let (status, _, code, title, _) = self.code.row();
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
    /// An error with a detail about this case.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
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

    /// The same for a refusal that may be over in a moment.
    pub(super) fn retry_soon(self) -> Self {
        self.retry_after(Duration::from_secs(1))
    }

    /// The same for a request that is not for a prediction.
    pub(super) fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }

    /// The same where its sender does not wait for the response: it counts as cancelled.
    pub(super) fn cancelled(mut self) -> Self {
        self.cancelled = true;
        self
    }

    /// What went wrong.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// What a refused request counts as, where it counts.
    pub(super) fn reason(&self) -> Option<Reason> {
        let (_, _, _, _, reason) = self.code.row();
        let reason = if self.cancelled {
            Some(Reason::Cancelled)
        } else {
            reason
        };
        reason.filter(|_| self.counted)
    }

    /// The detail about this case.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// An error of which only the log may know more.
    pub(super) fn internal() -> Self {
        Self::new(
            Code::Internal,
            "the server's log has the cause, under this request's id",
        )
    }

    /// The response to a request whose handler panicked; the log has the message.
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
        let (status, ..) = self.code.row();
        let reason = self.reason();
        let problem = ProblemDetail {
            code: self.code,
            detail: self.detail,
        };
        let mut response = (status, problem.body(false)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(problem);
        if let Some(reason) = reason {
            response.extensions_mut().insert(Refused(reason));
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::from(&failure)
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        match failure {
            // What went wrong in the runtime is for the log.
            Failure::Session(_) => Self::internal(),
            Failure::Rejected(Rejected::Overloaded { retry_after, .. }) => {
                Self::new(Code::of(failure.code()), failure.to_string()).retry_after(*retry_after)
            }
            _ => Self::new(Code::of(failure.code()), failure.to_string()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use repserve_preprocess::{Format, ImageError};
    use repserve_scheduler::{Refusal, SessionError};

    use super::*;
    use crate::classify::TooMuchWork;

    #[test]
    fn every_code_is_in_the_table_once() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
        }
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[track_caller]
    fn check(failure: impl Into<Failure>, expected: Code) {
        let failure = failure.into();
        let (name, detail) = (failure.code(), failure.to_string());
        assert_eq!(Code::of(name), expected, "{name}");
        let problem = Problem::from(failure);
        assert_eq!(problem.code.name(), name);
        assert!(
            problem.detail == detail || expected == Code::Internal,
            "{}",
            problem.detail
        );
    }

    fn invalid(error: ImageError) -> Failure {
        Failure::Invalid {
            part: "the image".to_owned(),
            error,
        }
    }

    #[test]
    fn what_the_parts_call_their_errors_is_in_the_table() {
        let retry_after = Duration::from_secs(3);
        for reason in Refusal::ALL {
            check(Rejected::Overloaded { reason, retry_after }, Code::Overloaded);
        }
        let needed = Duration::from_millis(20);
        check(Rejected::TooShort { needed }, Code::Deadline);
        check(Rejected::TooMany { capacity: 1 }, Code::TooLarge);
        check(Rejected::Expired, Code::Deadline);
        check(Rejected::Draining, Code::Draining);
        let (bytes, bytes_max) = (2, 1);
        check(invalid(ImageError::TooManyBytes { bytes, bytes_max }), Code::TooLarge);
        let (width, height, pixels_max) = (2, 2, 1);
        check(
            invalid(ImageError::TooManyPixels {
                width,
                height,
                pixels_max,
            }),
            Code::TooLarge,
        );
        let format = Format::Png;
        check(
            invalid(ImageError::TooMuchMemory {
                format,
                width,
                height,
                bytes: 2,
                bytes_max: 1,
            }),
            Code::TooLarge,
        );
        let text = || "so".to_owned();
        check(
            invalid(ImageError::UnknownFormat { head: text() }),
            Code::UnsupportedType,
        );
        check(invalid(ImageError::Empty), Code::UnsupportedType);
        check(
            invalid(ImageError::Unsupported { format, what: text() }),
            Code::UnsupportedType,
        );
        check(
            invalid(ImageError::Corrupt { format, part: text() }),
            Code::InvalidImage,
        );
        let (pixels, pixels_max) = (2, 1);
        check(Failure::TooMuchWork(TooMuchWork { pixels, pixels_max }), Code::TooLarge);
        check(Failure::Expired, Code::Deadline);
        check(Failure::Aborted, Code::Draining);
        check(Failure::NotFinite, Code::NotFinite);
        check(Failure::Session(SessionError("a secret".to_owned())), Code::Internal);
    }
}
