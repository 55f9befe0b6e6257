//! Settings that are declared once: [`settings!`] takes a section's keys, each with its documentation, type, default and allowed values,
//! and makes the struct, its `Default` and its [`Section`].
//!
//! ```
//! use repserve_settings::{Section, settings, time_ms};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! #[serde(rename_all = "lowercase")]
//! pub enum Format {
//!     Text,
//!     Json,
//! }
//!
//! settings! {
//!     /// How results are printed.
//!     pub struct PrintSettings {
//!         /// Rows of a page.
//!         #[allowed(1..=1000)]
//!         rows: usize = 20,
//!         /// Milliseconds until the next page.
//!         #[allowed(time_ms(0))]
//!         pause_ms: u64 = 500,
//!         /// How a row looks.
//!         format: Format = Format::Text,
//!     }
//! }
//!
//! assert_eq!(PrintSettings::default().rows, 20);
//!
//! let wrong = PrintSettings { rows: 0, ..PrintSettings::default() };
//! let message = wrong.check().unwrap_err().to_string();
//! assert_eq!(message, "`rows`: wants a whole number (1 to 1000), found 0");
//!
//! let format = &PrintSettings::keys()[2];
//! assert_eq!((format.name, format.doc), ("format", &[" How a row looks."][..]));
//! assert_eq!(format.wants, "`text` or `json`");
//! ```

mod allowed;
mod kind;
mod section;

pub use allowed::{Allowed, Rule, TextForm, TimeMs, ZeroOr, rule, text_form, time_ms, zero_or};
pub use kind::Kind;
pub use section::{Key, Refused, Section, check, wants};
