//! `repserve compile`.

use std::path::PathBuf;

use super::settings::{ServedArgs, SettingsArgs, Used};
use super::{ExitCode, Outcome, output};
use crate::app;
use repserve_cache::Store;
use repserve_compile::{Clock, Phase, Started, start};
use repserve_runtime::Runtime;

/// Compile a model into a start-up cache ahead of its first start, for example into a container image
///
/// `repserve serve --set cache.path=DIR` then starts from it. On a processor of another kind, the fused graph and its verification still
/// hold, and kernels and batches are measured again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the cache; it is made where there is none
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["cache.size_mib_max", "limits", "model", "quantize", "runtime", "verify"];

pub(super) fn run(args: &Args) -> Outcome {
    let mut settings = args.settings.load(USED, &args.served.flags())?.settings;
    settings.limits = app::memory::in_force(&settings.limits);
    let mut clock = Clock::silent();
    let package = clock.time(Phase::Read, || settings.model.open())?;
    let load = || Runtime::load(app::explicit(&settings));
    let precision = settings.model.precision.of(&package.manifest);
    let store = Store::new(args.output.clone(), app::cache::bytes_max(&settings.cache));
    let compile_settings = app::compile_settings(&settings, precision);
    let Started { compiled, unsaved } = start(load, package, Some(&store), &compile_settings, &mut clock)?;
    let state = if unsaved.is_empty() { "already in" } else { "written to" };
    unsaved.save()?;
    let manifest = &compiled.description.manifest;
    output::print(&format!(
        "{} {}: {state} {}, verified with a relative error of {:.1e}\n",
        manifest.name,
        manifest.version,
        args.output.display(),
        compiled.facts.equivalence.relative_error,
    ))?;
    Ok(ExitCode::SUCCESS)
}
