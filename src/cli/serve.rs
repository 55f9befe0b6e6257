//! `repserve serve`.

use std::process::ExitCode;

use anyhow::Context;

use super::Outcome;
use super::settings::{ModelsArgs, ServedArgs, SettingsArgs};
use crate::app::App;
use crate::telemetry;
use repserve_runtime::{Cores, return_large_blocks};

/// Cores for which one thread does all reading and writing. That takes a tenth of what inference takes, and threads beyond wake each
/// other, and push inference aside, for nothing.
const CORES_A_THREAD: usize = 4;

/// Serve a model over HTTP
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port; default: 127.0.0.1:8080
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    models: ModelsArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut flags = args.served.flags();
    flags.push(args.models.flag());
    flags.push(("server.listen", "--listen", args.listen.clone()));
    let loaded = args.settings.load(&[], &flags)?;
    let _log = telemetry::init(&loaded.settings.log).context("cannot start the log")?;
    return_large_blocks();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(Cores::detect().usable().div_ceil(CORES_A_THREAD))
        .thread_name("io")
        .enable_all()
        .build()
        .context("cannot start the runtime of threads")?;
    runtime.block_on(async {
        let app = App::build(loaded.settings).await?;
        app.run_until_stopped().await
    })?;
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    Ok(ExitCode::SUCCESS)
}
