//! A count among others, with its interval.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// How many of how many, as a share with its exact interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Those that count.
    pub count: usize,
    /// All.
    pub of: usize,
    /// The share, 0 to 1; 0 of none.
    pub share: f64,
    /// Its interval; see [`Interval::of_share`].
    pub interval: Interval,
}

impl Share {
    /// `count` of `of`.
    pub fn new(count: usize, of: usize, confidence: f64) -> Self {
        Self {
            count,
            of,
            share: if of == 0 { 0.0 } else { count as f64 / of as f64 },
            interval: Interval::of_share(count, of, confidence),
        }
    }
}
