//! `repserve convert`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::model_file::ModelFile;
use super::settings::SettingsArgs;
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
    settings: SettingsArgs,
}

/// Whether original and result were compared.
enum Checked {
    Equal(Box<Equivalence>),
    /// ONNX Runtime is not there.
    Not(String),
}

pub(super) fn run(args: &Args) -> Outcome {
    let settings = args.settings.load(&[])?.settings;
    let mut model = ModelFile::open(&args.file, args.output.as_deref())?;
    model.options.verify_passes = args.verify_passes;
    let deployed = model.named(reparameterize_bytes(model.bytes.clone(), &model.options))?;
    let checked = check(args, &settings, &model, &deployed)?;
    output::write_file(&args.out, &deployed.onnx).with_context(|| format!("cannot write {}", args.out.display()))?;
    let text = if args.json {
        as_json(&deployed, &checked)?
    } else {
        as_text(&deployed, &checked)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
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
