//! `repserve man`.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, ExitCode, Outcome, output};

/// Write the manual pages, one for the program and one a subcommand, into a folder
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to write into; it is made where it does not exist
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let folder = args.out.display();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {folder}"))?;
    clap_mangen::generate_to(Cli::command(), &args.out)
        .with_context(|| format!("cannot write manual pages into {folder}"))?;
    output::print(&format!(
        "written to {folder}; read one with `man {folder}/repserve.1`\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
