//! `repserve convert`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::classify::files;
use super::model_file::ModelFile;
use super::out_file::OutFile;
use super::report::{self, ReportArgs};
use super::settings::{LibraryArgs, SettingsArgs, Used};
use super::{ExitCode, Outcome, output, probe};
use crate::app;
use crate::config::Settings;
use repserve_compile::{ErrorsByValue, Fused, probes};
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::report::Report;
use repserve_runtime::Runtime;

/// Fuse a train-time ONNX model into its deploy form, and print what was done
///
/// The result is compared with the original in ONNX Runtime where its library is found.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ONNX file, or a model's folder
    #[arg(value_name = "IN")]
    file: PathBuf,
    /// Where the deploy model is written
    #[arg(short, long = "out", value_name = "OUT")]
    out: PathBuf,
    /// Replace OUT where it exists; never a file of the model itself
    #[arg(long)]
    force: bool,
    /// The one output to keep; what only the others need is dropped
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Verify the graph after every pass, so that an error names the pass that left an invalid one
    #[arg(long)]
    verify_passes: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Compare the two on these images too, besides random inputs
    #[arg(long, value_name = "DIR")]
    probe: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    library: LibraryArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["limits", "runtime.library", "verify"];

/// Whether original and result were compared.
#[derive(Serialize)]
#[serde(untagged)]
enum Checked {
    Equal(Box<Equivalence>),
    /// ONNX Runtime is not there.
    Not {
        not_verified: String,
    },
}

/// What `--json` prints.
#[derive(Serialize)]
struct Converted<'a> {
    #[serde(flatten)]
    report: &'a Report,
    equivalence: &'a Checked,
    /// What each output and each block differs by on one image; null where that was not measured.
    errors: Option<&'a ErrorsByValue>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let settings = args.settings.load(USED, &[args.library.flag()])?.settings;
    let mut model = ModelFile::open(&args.file, args.output.as_deref())?;
    model.options.verify_passes = args.verify_passes;
    let target = target(args, &model)?;
    let page = args.report.target(&sources(args, &model)?)?;
    let fused = model.named(Fused::new(model.source()))?;
    let (fused, checked, errors) = check(args, &settings, &model, fused)?;
    target.write(fused.onnx())?;
    if let Some(page) = page {
        let name = model.path.display().to_string();
        let equivalence = match &checked {
            Checked::Equal(equivalence) => Some(&**equivalence),
            Checked::Not { .. } => None,
        };
        page.write(
            report::fusion::html(&name, fused.report(), fused.model(), equivalence, errors.as_ref()).as_bytes(),
        )?;
    }
    let text = if args.json {
        let converted = Converted {
            report: fused.report(),
            equivalence: &checked,
            errors: errors.as_ref(),
        };
        serde_json::to_string_pretty(&converted)? + "\n"
    } else {
        as_text(fused.report(), &checked)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Where the deploy model is written: to no file that is read here.
fn target(args: &Args, model: &ModelFile) -> anyhow::Result<OutFile> {
    let sources = if args.out.exists() {
        sources(args, model)?
    } else {
        Vec::new()
    };
    Ok(OutFile::new(&args.out, args.force, &sources)?)
}

/// Every file that is read.
fn sources(args: &Args, model: &ModelFile) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = model.files()?;
    let images = args.probe.as_slice();
    sources.extend(files::list(images).into_iter().map(|listed| listed.path));
    Ok(sources)
}

/// Compares the two, where ONNX Runtime is there; what differs is left unfused, as the settings say.
/// How far each value differs is measured only where it is shown.
fn check(
    args: &Args,
    settings: &Settings,
    model: &ModelFile,
    fused: Fused,
) -> anyhow::Result<(Fused, Checked, Option<ErrorsByValue>)> {
    let runtime = match Runtime::load(app::explicit(settings)) {
        Ok(runtime) => runtime,
        Err(error) if args.probe.is_some() => return Err(error).context("the images cannot be run"),
        Err(error) if app::explicit(settings).is_some() => return Err(error.into()),
        Err(error) => {
            let not_verified = error.to_string();
            return Ok((fused, Checked::Not { not_verified }, None));
        }
    };
    let image = probe::shape(&runtime, model, &fused)?;
    let mut probes = probes(image, &settings.verify);
    if let Some(folder) = &args.probe {
        probes.extend(probe::images(folder, image, model.manifest.as_ref(), settings)?);
    }
    let (fused, verified) = model.named(fused.verified(&runtime, probes, &settings.verify))?;
    let shown = args.json || args.report.is_wanted();
    let first = verified.probes.first().filter(|_| shown);
    let errors = first.and_then(|probe| match fused.errors_by_value(&runtime, probe) {
        Ok(errors) => Some(errors),
        Err(error) => {
            output::complain(&format!("the errors of single values are not measured: {error}"));
            None
        }
    });
    Ok((fused, Checked::Equal(Box::new(verified.equivalence)), errors))
}

fn as_text(report: &Report, checked: &Checked) -> String {
    let mut out = report.to_string();
    let _ = match checked {
        Checked::Equal(equivalence) => writeln!(out, "verified      {equivalence}"),
        Checked::Not { not_verified } => writeln!(out, "not verified: {not_verified}"),
    };
    out
}
