//! Winograd inside ONNX Runtime: chains of convolutions of the deploy graph become operators of the domain `repserve`, which run
//! `repserve_kernels` on blocked activations. The portable deploy graph stays standard; only the session's copy is lowered.
//!
//! [`choose`](mod@choose) is the way through: [`sites`](mod@sites) finds the convolutions, [`lower`](mod@lower) rewrites the graph,
//! `super::operators` registers what it then needs, [`measure`](mod@measure) times both graphs by ONNX Runtime's [`profile`], and
//! [`decide`](mod@decide) picks the layers.

mod choose;
mod decide;
mod lower;
mod measure;
mod profile;
mod report;
mod sites;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::Layers;
use super::operators::DOMAIN;

pub use choose::lower_for_session;
pub use report::{ChosenLayer, WinogradReport};

/// Whether layers are lowered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WinogradMode {
    /// Those that measure faster on this machine, at start-up.
    #[default]
    Auto,
    /// Every layer that the kernels can compute, unmeasured.
    On,
    /// None.
    Off,
}

/// What a session is made of: the graph to load and the layers that its operators run. Sessions of a pool share the layers.
#[derive(Debug)]
pub struct Lowered {
    /// The encoded model; the one that was given where nothing is lowered.
    pub model: Bytes,
    /// For [`SessionOptions::layers`](super::SessionOptions::layers).
    pub layers: Layers,
    /// What was chosen, and why.
    pub report: WinogradReport,
}
