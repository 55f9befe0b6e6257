//! Measuring: the server beside a bare loop over the same image, model and cores, in one run.
//!
//! [`synth`] makes models, [`picture`] what is sent, [`bare`] is the loop, [`server`] the server, [`load`] is the client, [`process`] reads what the server used, [`stats`] sums up, [`report`]
//! tells. Where the parts meet is `crate::cli::bench`.

pub mod bare;
pub mod load;
pub mod picture;
pub mod process;
pub mod report;
pub mod server;
pub mod stats;
pub mod synth;
