//! ONNX Runtime for image classifiers: the only crate that knows `ort`.
//!
//! - [`Runtime`] finds and loads the shared library. [`ModelSession`] runs a model on batches of images.
//! - [`lower`] puts operators that run `repserve_kernels` in place of convolutions in f32, where that measures faster.
//! - [`Pool`] makes the sessions of a [`SessionModel`]: optimized once, over one copy of the weights, int8 in this program's kernels.
//! - [`Plan`] is how many sessions of which width there are, made from the [`Cores`] that the process may use and a measured [`Curve`].
//!
//! ```no_run
//! use repserve_graph::onnx::{self, ExternalData};
//! use repserve_runtime::{Pool, Runtime, RuntimeSettings, SessionModel, lower, lower_releasing};
//! use repserve_scheduler::Width;
//!
//! let (settings, shape) = (RuntimeSettings::default(), [3, 224, 224]);
//! let runtime = Runtime::load(None)?;
//! let onnx = bytes::Bytes::from(std::fs::read("deploy.onnx")?);
//! let model = onnx::read(onnx.clone(), &ExternalData::None)?;
//! let plain = SessionModel::new(&model, onnx);
//! let lowered = lower(&runtime, &model, &plain, settings.kernels, shape, None)?;
//! let pool = Pool::new(&runtime, lowered.model, None, &settings)?;
//! let image = vec![0.0; 3 * 224 * 224];
//! let scores = pool.session(Width::Narrow)?.run(&[image], shape)?;
//! println!("{} scores", scores[0].len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cgroup;
mod cores;
mod cpu_time;
mod curve;
mod error;
mod heap;
mod image_session;
mod input;
mod int8;
mod live;
mod locate;
mod lowering;
mod median;
mod memory;
mod multi_output_session;
mod operators;
mod optimized;
mod plan;
mod pool;
mod priority;
mod session;
mod session_model;
mod settings;
mod stored;
mod unpacked;
mod weights;

pub use cores::Cores;
pub use curve::{Curve, Point};
pub use error::RuntimeError;
pub use heap::{return_freed_memory, return_large_blocks};
pub use image_session::ImageSession;
pub use input::{Element, Input, Layout};
pub use int8::int8_instructions;
pub use live::live_elements_max;
pub use locate::Runtime;
pub use lowering::{KernelReport, LayerReport, LoweredModel, lower, lower_releasing};
pub use median::median;
pub use memory::MemoryPlan;
pub use multi_output_session::{MultiOutputSession, OutputValues};
pub use operators::{Int8Kernels, Layers};
pub use plan::Plan;
pub use pool::Pool;
pub use priority::{idle_priority, only_when_idle};
pub use session::{Batching, ModelSession, Optimization, Row, SessionOptions};
pub use session_model::SessionModel;
pub use settings::{KernelMode, PlanMode, RuntimeSettings};
pub use stored::{PoolRecord, StoredPool};
