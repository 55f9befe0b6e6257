//! Measuring: the server beside a bare loop over the same image, model and cores, in one run.
//!
//! [`synth`] makes models, [`load`] is the client, [`process`] reads what the server used, [`stats`] sums up, [`report`]
//! tells. Where the parts meet is `crate::cli::bench`.

pub mod load;
pub mod process;
pub mod report;
pub mod stats;
pub mod synth;
