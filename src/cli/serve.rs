//! `repserve serve`.

use std::time::Duration;

use anyhow::Context;

use super::settings::{ModelsArgs, ServedArgs, SettingsArgs};
use super::{ExitCode, Outcome};
use crate::app::App;
use crate::config::Settings;
use crate::telemetry::{self, LogFormat, LogSettings};
use repserve_files::in_words;
use repserve_runtime::{Cores, return_large_blocks};

/// Cores for which one thread does all reading and writing. That takes a tenth of what inference takes, and threads beyond wake each
/// other, and push inference aside, for nothing.
const CORES_A_THREAD: usize = 4;

/// Time for what runs on threads of its own when the server ends.
const LAST_TASKS_MAX: Duration = Duration::from_millis(200);

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
    let loaded = match args.settings.load(&[], &flags) {
        Err(error) if args.settings.log_format(&flags) == LogFormat::Json => {
            let _log = telemetry::init(&json_log()).context("cannot start the log")?;
            return Ok(logged(&error.into()));
        }
        loaded => loaded?,
    };
    let _log = telemetry::init(&loaded.settings.log).context("cannot start the log")?;
    match serve(loaded.settings.clone()) {
        Err(error) if loaded.settings.log.format == LogFormat::Json => Ok(logged(&error)),
        served => served,
    }
}

/// The log of a server whose settings are wrong, apart from this one.
fn json_log() -> LogSettings {
    LogSettings {
        format: LogFormat::Json,
        ..LogSettings::default()
    }
}

/// Reports the error as a line of the log, which is JSON; returns the exit code.
fn logged(error: &anyhow::Error) -> ExitCode {
    tracing::error!(error = in_words(format!("{error:#}")), "ended by an error");
    super::failure(error)
}

fn serve(settings: Settings) -> Outcome {
    return_large_blocks();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(Cores::detect().usable().div_ceil(CORES_A_THREAD))
        .thread_name("io")
        .enable_all()
        .build()
        .context("cannot start the runtime of threads")?;
    let served = runtime.block_on(async {
        let app = App::build(settings).await?;
        app.run_until_stopped().await
    });
    // A thread may still load a model.
    runtime.shutdown_timeout(LAST_TASKS_MAX);
    served.map(|()| ExitCode::SUCCESS)
}
