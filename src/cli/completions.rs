//! `repserve completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, ExitCode, Outcome, output};

/// Print completions for a shell, such as for `source <(repserve completions bash)`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "repserve", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
