//! Why an inference request is refused.

use crate::http::error::{Code, Problem};

/// Why a request cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum RequestError {
    /// It is not what the protocol or the model requires.
    #[error("{0}")]
    Malformed(String),
    /// It holds too much.
    #[error("{0}")]
    TooLarge(String),
}

impl RequestError {
    pub(in crate::http) fn not_finite() -> Self {
        Self::Malformed("the input holds NaN or infinity".to_owned())
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Malformed(detail) => Self::new(Code::Malformed, detail),
            RequestError::TooLarge(detail) => Self::new(Code::TooLarge, detail),
        }
    }
}
