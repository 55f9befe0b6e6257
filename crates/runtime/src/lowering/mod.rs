//! Convolutions in f32 of the deploy graph that this program's kernels compute: chains of them become operators of the domain
//! `repserve`, which run `repserve_kernels` on blocked activations. The deploy graph stays standard; only the sessions' copy is lowered.
//!
//! [`choose`](mod@choose) is the way through: [`sites`](mod@sites) finds the convolutions, [`lower`](mod@lower) rewrites the graph,
//! `crate::operators` registers what it then needs, [`measure`](mod@measure) times both graphs by ONNX Runtime's [`profile`] in as many
//! [`rounds`] as it takes, and
//! [`decide`](mod@decide) picks the layers. Layers in int8 are lowered after ONNX Runtime has optimized the graph (`crate::int8`).

mod choose;
mod decide;
mod lower;
mod measure;
mod profile;
mod report;
mod rounds;
mod sites;

#[cfg(test)]
mod tests;

pub use choose::{LoweredModel, lower, lower_releasing};
pub use report::{KernelReport, LayerReport};
