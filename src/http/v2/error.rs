//! Why an inference request is refused.

/// Why a request cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// It is not what the protocol or the model requires.
    #[error("{0}")]
    Malformed(String),
    /// It holds too much.
    #[error("{0}")]
    TooLarge(String),
}

impl RequestError {
    pub(super) fn not_finite() -> Self {
        Self::Malformed("the input holds NaN or infinity".to_owned())
    }
}
