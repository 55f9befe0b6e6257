//! `repserve config`.

use std::process::ExitCode;

use super::settings::SettingsArgs;
use super::{Outcome, output};
use crate::config::{as_json, as_toml};

/// Print the settings in force and where each came from
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.settings.load(&[])?;
    let text = if args.json {
        format!("{:#}\n", as_json(&loaded.layers))
    } else {
        as_toml(&loaded.layers)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
