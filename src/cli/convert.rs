//! `repserve convert`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::classify::files;
use super::model_file::ModelFile;
use super::out_file::OutFile;
use super::settings::{LibraryArgs, SettingsArgs, Used};
use super::{Outcome, output, probe};
use crate::app::{self, Pair};
use crate::config::Settings;
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::{Deployed, reparameterize_bytes};
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
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Compare the two on these images too, besides random inputs
    #[arg(long, value_name = "DIR")]
    probe: Option<PathBuf>,
    #[command(flatten)]
    library: LibraryArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["limits", "runtime.library", "verify"];

/// Whether original and result were compared.
enum Checked {
    Equal(Box<Equivalence>),
    /// ONNX Runtime is not there.
    Not(String),
}

pub(super) fn run(args: &Args) -> Outcome {
    let settings = args.settings.load(USED, &[args.library.flag()])?.settings;
    let model = ModelFile::open(&args.file, args.output.as_deref())?;
    let target = target(args, &model)?;
    let deployed = model.named(reparameterize_bytes(model.bytes.clone(), &model.options))?;
    let checked = check(args, &settings, &model, &deployed)?;
    target.write(&deployed.onnx)?;
    let text = if args.json {
        as_json(&deployed, &checked)?
    } else {
        as_text(&deployed, &checked)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Where the deploy model is written: to no file that is read here.
fn target(args: &Args, model: &ModelFile) -> anyhow::Result<OutFile> {
    let mut sources = Vec::new();
    if args.out.exists() {
        sources = model.files()?;
        let images = args.probe.as_slice();
        sources.extend(files::list(images).into_iter().map(|listed| listed.path));
    }
    Ok(OutFile::new(&args.out, args.force, &sources)?)
}

fn check(args: &Args, settings: &Settings, model: &ModelFile, deployed: &Deployed) -> anyhow::Result<Checked> {
    let runtime = match Runtime::load(app::explicit(settings)) {
        Ok(runtime) => runtime,
        Err(error) if args.probe.is_some() => return Err(error).context("the images cannot be run"),
        Err(error) => return Ok(Checked::Not(error.to_string())),
    };
    let pair = Pair {
        source: &model.bytes,
        file: Some(&model.path),
        deployed,
        options: &model.options,
    };
    let image = probe::shape(&runtime, model, deployed)?;
    let mut probes = app::probes(image, &settings.verify);
    if let Some(folder) = &args.probe {
        probes.extend(probe::images(folder, image, model.manifest.as_ref(), settings)?);
    }
    let (equivalence, _) = model.named(app::verify(&runtime, pair, &probes, &settings.verify))?;
    Ok(Checked::Equal(Box::new(equivalence)))
}

fn as_text(deployed: &Deployed, checked: &Checked) -> String {
    let mut out = deployed.report.to_string();
    let _ = match checked {
        Checked::Equal(equivalence) => writeln!(out, "verified      {equivalence}"),
        Checked::Not(why) => writeln!(out, "not verified: {why}"),
    };
    out
}

fn as_json(deployed: &Deployed, checked: &Checked) -> anyhow::Result<String> {
    let mut report = serde_json::to_value(&deployed.report)?;
    match checked {
        Checked::Equal(equivalence) => report["equivalence"] = serde_json::to_value(equivalence)?,
        Checked::Not(why) => report["equivalence"] = json!({ "not_verified": why }),
    }
    Ok(format!("{report:#}\n"))
}
