//! The models of a folder: which there are, in which versions, and what becomes of each.
//!
//! [`layout`] says what the names in a folder mean and [`lifecycle`] what happens to a model when it is loaded or unloaded; both are pure.
//! [`scan`] reads folders, [`golden`] the answers that a model must give, [`watch`] notices changes. [`Repository`] puts these together.

mod background;
mod control;
mod error;
mod freed;
mod golden;
pub mod layout;
pub mod lifecycle;
mod model;
mod scan;
mod settings;
mod source;
mod watch;

pub use background::stand_back;
pub use control::{LoadedModel, Loader, Parts, Progress, Readiness, Repository, Wanted};
pub use error::{LoadError, Refused};
pub use golden::{Golden, GoldenError};
pub use model::{Entry, READY};
pub use scan::{Fingerprint, ModelFolder, ScanError, VersionFiles, VersionFolder};
pub use settings::{Control, ModelsSettings};
pub use source::Source;
pub use watch::watch;
