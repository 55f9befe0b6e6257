//! `repserve convert`.
use super::Outcome;
/// Fuse a train-time ONNX model into its deploy form
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
pub(super) fn run(_args: &Args) -> Outcome {
    anyhow::bail!("x")
}
