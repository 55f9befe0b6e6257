//! The values of labels. Each label has a fixed number of them, so that nothing a client sends makes a series.

/// A part of a request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Encoded bytes to pixels.
    Decode,
    /// Pixels to tensor.
    Preprocess,
    /// Waiting, in all.
    Queue,
    /// The session's run.
    Inference,
    /// Probabilities and best classes.
    Postprocess,
}

impl Stage {
    /// All stages, in a request's order.
    pub const ALL: [Self; 5] = [
        Self::Decode,
        Self::Preprocess,
        Self::Queue,
        Self::Inference,
        Self::Postprocess,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Queue => "queue",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
        }
    }
}

/// Why a request got no prediction. Each refused request counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The queue was full.
    Overloaded,
    /// Its deadline passed.
    Deadline,
    /// Its client went away.
    Cancelled,
    /// An image could not be read, or there was none.
    InvalidImage,
    /// Too many bytes, pixels or images.
    TooLarge,
    /// The server is going down.
    Draining,
    /// The model is not loaded yet.
    NotReady,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Overloaded,
        Self::Deadline,
        Self::Cancelled,
        Self::InvalidImage,
        Self::TooLarge,
        Self::Draining,
        Self::NotReady,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::InvalidImage => "invalid_image",
            Self::TooLarge => "too_large",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
        }
    }
}

/// Whether a response of this status gave what was requested.
pub(super) fn outcome(code: u16) -> &'static str {
    if code < 400 { "served" } else { "failed" }
}

/// Status codes as text, without allocating for those that are common.
pub(super) fn code_label(code: u16) -> &'static str {
    const CODES: [(u16, &str); 19] = [
        (200, "200"),
        (304, "304"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (408, "408"),
        (409, "409"),
        (413, "413"),
        (415, "415"),
        (422, "422"),
        (429, "429"),
        (431, "431"),
        (499, "499"),
        (500, "500"),
        (501, "501"),
        (503, "503"),
        (504, "504"),
    ];
    CODES.iter().find(|(c, _)| *c == code).map_or("other", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_index() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
        for (i, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, i);
        }
    }
}
