//! What a classifier says of one image.

use serde::{Deserialize, Serialize};

/// One class and its probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Which class.
    pub class: usize,
    /// 0 to 1.
    pub probability: f32,
}

/// The best classes of one image, best first; at least five where the classifier has so many.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prediction {
    /// Best first.
    pub guesses: Vec<Guess>,
}

impl Prediction {
    /// The best class.
    pub fn best(&self) -> Option<Guess> {
        self.guesses.first().copied()
    }

    /// Whether `class` is the best.
    pub fn is(&self, class: usize) -> bool {
        self.best().is_some_and(|best| best.class == class)
    }

    /// Whether `class` is among the best `k`.
    pub fn is_among(&self, class: usize, k: usize) -> bool {
        self.guesses.iter().take(k).any(|guess| guess.class == class)
    }
}
