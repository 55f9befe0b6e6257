//! Post-training int8 quantization of convolutional ONNX graphs: from a deploy graph and some images to the int8 graph.
//!
//! [`calibrate`] looks at what the fp32 graph computes on images and decides: factors that equalize channels across layers
//! (`equalize`, by the `magnitudes` of each channel), the range of every quantized value (`range`), which way each weight is rounded (`rounding`, from the
//! `moments` of a layer's inputs), what each bias must make up for, and which layers stay in fp32 (`sensitivity`).
//! The result is a [`Calibration`]. [`rewrite()`] makes the int8 graph of it, in the same IR; [`compare`] measures how far
//! both are apart. Nothing here knows a runtime: graphs run through closures ([`Load`]). The method, its sources and
//! its figures stand in `docs/quantization.md`.
//!
//! What a quantized value stands for follows from its range. Zero is always exact, as convolutions pad with it:
//!
//! ```
//! use repserve_quantize::Range;
//!
//! let affine = Range { low: -1.0, high: 3.0 }.affine();
//! let real = |quantized: u8| (f32::from(quantized) - f32::from(affine.zero_point)) * affine.scale;
//! assert_eq!(real(affine.zero_point), 0.0);
//! assert!((real(255) - 3.0).abs() < affine.scale);
//! ```
//!
//! How far an int8 model is from its fp32 original, from rows of logits of the same images:
//!
//! ```
//! use repserve_quantize::compare;
//!
//! let fp32 = [vec![2.0, 0.5], vec![0.1, 1.4]];
//! let int8 = [vec![1.9, 0.6], vec![0.2, 1.3]];
//! assert_eq!(compare(&fp32, &int8, false).top1_agreement, 1.0);
//! ```

mod agreement;
mod between;
mod calibrate;
mod calibration;
mod cholesky;
mod directions;
mod equalize;
mod error;
mod evidence;
mod finer;
mod finer_rewrite;
mod gate;
mod job;
mod layers;
mod magnitudes;
mod moments;
mod observe;
mod packed;
mod product;
mod range;
mod report;
mod rewrite;
mod rounding;
mod scale;
mod sensitivity;
mod step;
mod text;
mod view;

pub use agreement::{Agreement, compare};
pub use calibrate::calibrate;
pub use calibration::{Calibration, GateImages, Images, LayerRecord, Precision, Returns, ValueRange};
pub use error::Error;
pub use evidence::Evidence;
pub use gate::{GateSettings, Judgement, Loss, Otherwise, Verdict};
pub use job::{GraphRunner, Job, Load, Progress, Stage, Values};
pub use range::{Affine, Range};
pub use rewrite::rewrite;
pub use sensitivity::Goal;
pub use step::Step;
pub use view::VIEWS_MAX;
