//! `repserve inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::model_file::ModelFile;
use super::{Outcome, output};
use repserve_reparam as reparam;

/// Say what a model is, which blocks would be fused, and what would not and why
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ONNX file, or a model's folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The one output to keep; what only the others need is dropped
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Verify the graph after every pass, so that an error names the pass that left an invalid one
    #[arg(long)]
    verify_passes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut model = ModelFile::open(&args.file, args.output.as_deref())?;
    model.options.verify_passes = args.verify_passes;
    let report = model.named(reparam::inspect(model.bytes.clone(), &model.options))?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.to_string()
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
