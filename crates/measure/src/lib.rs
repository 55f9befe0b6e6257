//! Measuring: the server beside a bare loop over the same image, model and cores, in one run.
//!
//! [`synth`] makes models and [`picture`] the image that is sent. [`bare`] is the loop, [`server`] starts the server, [`load`] is the
//! client, [`process`] reads what the server used. [`stats`] sums the samples up, [`goodput`] counts what was served in time, [`report`]
//! formats the figures.
//!
//! ```
//! use std::time::Duration;
//!
//! use repserve_measure::stats::Percentiles;
//!
//! let latencies = (1..=100).map(Duration::from_millis);
//! let Percentiles { p50, p95, p99 } = Percentiles::of(latencies);
//! assert_eq!([p50, p95, p99], [50.0, 95.0, 99.0]);
//! ```

pub mod bare;
mod child;
pub mod goodput;
pub mod load;
pub mod picture;
pub mod process;
pub mod report;
pub mod server;
pub mod stats;
pub mod synth;
