//! How good a classifier's predictions are, and how two classifiers differ on the same images.
//!
//! Functions of values: [`Accuracy`] of one classifier's [`Prediction`]s and their labels, [`Comparison`] of two classifiers'. Every count comes
//! with an interval, because a count of 25 and one of 250 say different things:
//!
//! ```
//! use repserve_evaluation::{CONFIDENCE, Interval};
//!
//! let of = |hits, trials| Interval::of_share(hits, trials, CONFIDENCE);
//! assert!(of(25, 25).low < 0.87);
//! assert!(of(250, 250).low > 0.985);
//! ```

mod accuracy;
mod bootstrap;
mod class_names;
mod comparison;
mod interval;
mod paired;
mod prediction;
mod reliability;
mod share;

pub use accuracy::{Accuracy, ClassAccuracy, Confusion};
pub use bootstrap::bootstrap_interval;
pub use class_names::{ClassNames, NameError};
pub use comparison::{Changed, Comparison, Difference};
pub use interval::{Interval, trials_that_decide, trials_that_show};
pub use paired::Paired;
pub use prediction::{Guess, Prediction};
pub use reliability::{Bin, Reliability};
pub use share::Share;

/// The confidence of intervals, unless another is asked for.
pub const CONFIDENCE: f64 = 0.95;
