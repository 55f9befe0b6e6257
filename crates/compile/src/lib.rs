//! From a model's folder to sessions that can be served: `Package -> Fused -> (Quantized | Lowered) -> Compiled`.
//!
//! Each stage is a type that says what it holds, and values pass between them:
//!
//! - [`Package`]: the parts of a model's folder, as bytes and text. Its [`Source`] is the train-time graph.
//! - [`Fused`]: the deploy graph, as a value and encoded. The train-time file is parsed here, once; the deploy graph is
//!   encoded here, once, and read back, so that its tensors are parts of that file.
//! - [`Executable`]: what ONNX Runtime is to run, either [`Quantized`], an int8 graph that has passed the gate, or [`Lowered`], the
//!   fp32 graph, with this program's kernels where they are faster.
//! - [`Compiled`]: sessions that return what the train-time graph returns, the plan for their threads, and the [`Facts`].
//!
//! A graph that is another than the deploy graph (int8, lowered) is encoded once too, and once more if measuring picks only some of its
//! layers. ONNX Runtime's own optimized graph is read again where sessions share its weights or where int8 runs in this program's
//! kernels: ONNX Runtime hands it out in no other way. The verification runs the train-time file as it was found, so ONNX Runtime
//! parses that too.
//!
//! [`compile`] goes through all stages from [`Fused`] on, [`start`] from the package on, and takes from a cache what an earlier start found
//! out; [`calibrate`] writes what [`Quantized`] needs.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use repserve_compile::{Clock, CompileSettings, Fused, Package, compile};
//! use repserve_runtime::Runtime;
//!
//! let package = Package::open(Path::new("models/mine"))?;
//! let fused = Fused::new(package.source())?;
//! println!("{}", fused.report());
//! let runtime = Runtime::load(None)?;
//! let settings = CompileSettings::default();
//! let compiled = compile(&runtime, package, fused, &settings, &mut Clock::silent())?;
//! println!("{} narrow sessions", compiled.sessions.narrow.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A folder's `model.toml`:
//!
//! ```
//! use repserve_compile::Manifest;
//!
//! let manifest = Manifest::parse(
//!     r#"
//!     name = "mine"
//!     version = "1"
//!     file = "model.onnx"
//!     [input]
//!     size = [224, 224]
//!     mean = [0.485, 0.456, 0.406]
//!     std = [0.229, 0.224, 0.225]
//!     "#,
//! )?;
//! assert_eq!(manifest.name, "mine");
//! # Ok::<(), repserve_compile::ManifestError>(())
//! ```

mod arithmetic;
mod auto;
mod beside;
mod bisect;
mod cache;
mod calibrate;
mod compiled;
mod draft;
mod embedding;
mod error;
mod executable;
mod facts;
mod fused;
mod graph_input;
mod manifest;
mod measured_batch;
mod normalization;
mod package;
mod phase;
mod precision;
mod quantized;
mod renewed;
mod repository;
mod scores;
mod settings;
mod signature;
mod source;
#[cfg(test)]
mod tests;
mod train_time;
mod verify;

pub use beside::Measured;
pub use cache::{Started, Unsaved, cached, start};
pub use calibrate::{CalibrationImages, Wanted, calibrate};
pub use compiled::{Compiled, Description, compile};
pub use draft::{Draft, Preset};
pub use embedding::{EMBEDDING_VALUES_MAX, EMBEDDINGS_MAX, Embedding};
pub use error::{CompileError, Mismatch};
pub use executable::{Chosen, Executable, Lowered};
pub use facts::{Facts, GraphFacts, Int8Facts, LoadTimes, PlanFacts};
pub use fused::Fused;
pub use manifest::{Manifest, ManifestError, OutputKind, OutputSpec};
pub use package::{CALIBRATION_FILE, MANIFEST_FILE, Package, PackageError, Parts};
pub use phase::{Clock, Phase, PhaseEvent};
pub use precision::{AutoFacts, AutoReason, AutoTimes, RequestedPrecision};
pub use quantized::{Gated, Quantized};
pub use repository::{RepositorySpec, VersionPolicy};
pub use scores::{KindError, Scores};
pub use settings::{CompileSettings, VerifyOtherwise, VerifySettings};
pub use signature::Signature;
pub use source::Source;
pub use verify::{ErrorsByValue, ValueError, Verified, probes, probes_of};
