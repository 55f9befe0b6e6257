//! `repserve config`.

use super::settings::{ServedArgs, SettingsArgs};
use super::{ExitCode, Outcome, output};
use crate::app::memory;
use crate::config::{Loaded, as_json, as_toml, default_toml};

/// Print the settings in force and where each came from
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print every key with its default and what it is for, whatever is in force: a file to copy from
    #[arg(long = "default", conflicts_with_all = ["json", "set", "model", "precision", "onnxruntime"])]
    defaults: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.defaults {
        output::print(&default_toml()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut loaded = args.settings.load(&[], &args.served.flags())?;
    note_limits(&mut loaded);
    let text = if args.json {
        format!("{:#}\n", as_json(&loaded.layers))
    } else {
        as_toml(&loaded.layers)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Notes the limits that follow from the memory there is.
fn note_limits(loaded: &mut Loaded) {
    let limits = memory::in_force(&loaded.settings.limits);
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for (key, bytes) in [
        ("limits.decode_bytes_max", limits.decode_bytes_max),
        ("limits.bodies_bytes_max", limits.bodies_bytes_max as u64),
        ("limits.request_bytes_max", limits.request_bytes_max as u64),
        ("limits.image_bytes_max", limits.image_bytes_max as u64),
    ] {
        loaded.layers.note(key, number(bytes));
    }
}
