//! Plots of what `repserve-measure` measured, as SVG documents. A crate of its own, so that no server carries a plotter.
//!
//! ```
//! let svg = repserve_plots::speedups::svg(&[("RepVGG-A0, batch 1".to_owned(), 2.05)])?;
//! assert!(svg.starts_with("<svg"));
//! # anyhow::Ok(())
//! ```

pub mod goodput;
pub mod load;
pub mod speedups;
