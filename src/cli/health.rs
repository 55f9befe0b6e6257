//! `repserve health`: asks a running server whether it is ready. The container's health check.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::settings::{SettingsArgs, Used};
use super::value::positive;
use super::{ExitCode, Outcome, output};
use crate::app::probe::{self, Returned, Trust};
use crate::config::Settings;

/// Ask a running server whether it is ready; exit code 0 when it is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask, over http:// or https://; default: /readyz at the configured address
    #[arg(long, conflicts_with = "set")]
    url: Option<String>,
    /// PEM certificates that an https:// URL is verified against; default: the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    certificate_file: Option<PathBuf>,
    /// Give up after this time
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = positive::<u64>)]
    timeout_ms: u64,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["security", "server"];

pub(super) fn run(args: &Args) -> Outcome {
    let (url, trust) = match &args.url {
        Some(url) => (
            url.clone(),
            args.certificate_file.clone().map_or(Trust::System, Trust::Authorities),
        ),
        None => configured(&args.settings.load(USED, &[])?.settings),
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let Returned { status, body } = match request(&url, &trust, timeout) {
        Err(error) if is_refused(&error) => {
            bail!("nothing listens at {url}; start the server, or say with --url or server.listen where it listens")
        }
        returned => returned.with_context(|| format!("cannot request {url}"))?,
    };
    if status == 200 {
        output::print(&format!("{url}: ready\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let detail = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|v| Some(v.get("detail")?.as_str()?.to_owned()));
    bail!(
        "{url} returned {status}: {}",
        detail.as_deref().unwrap_or("no reason given")
    );
}

fn is_refused(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn request(url: &str, trust: &Trust, timeout: Duration) -> anyhow::Result<Returned> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async { tokio::time::timeout(timeout, probe::get(url, trust)).await });
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|_| bail!("no response within {} ms", timeout.as_millis()))
}

/// The URL of the server that the settings describe.
fn configured(settings: &Settings) -> (String, Trust) {
    let server = &settings.server;
    probe::of_server(server.listen, server.admin_listen, &settings.security, "/readyz")
}
