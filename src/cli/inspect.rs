//! `repserve inspect`.
use super::Outcome;
/// Say what a model is and what would be fused
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
pub(super) fn run(_args: &Args) -> Outcome {
    anyhow::bail!("x")
}
