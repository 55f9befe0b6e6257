//! `repserve classify`.
use super::Outcome;
/// Classify images without a server
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
pub(super) fn run(_args: &Args) -> Outcome {
    anyhow::bail!("x")
}
