//! `repserve inspect`.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::model_file::ModelFile;
use super::report::{self, ReportArgs};
use super::{ExitCode, Outcome, output};
use repserve_compile::Embedding;
use repserve_graph::{Model, ValueId, onnx};
use repserve_reparam::fuse_onnx;
use repserve_reparam::report::Report;

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
    #[command(flatten)]
    report: ReportArgs,
}

/// Values that are listed as possible embeddings at most.
const EMBEDDINGS_SHOWN: usize = 8;

/// What is printed of a model.
#[derive(Serialize)]
struct Inspected {
    /// Inputs that are no constants: name, type and shape.
    inputs: Vec<String>,
    /// Outputs: name, type and shape.
    outputs: Vec<String>,
    /// Inner values that `output.embeddings` of a `model.toml` may name, the last ones first.
    embeddings: Vec<Embedding>,
    /// Version of ONNX's operator set.
    opset: i64,
    /// Whether there is nothing to fuse: each convolution stands alone, with what follows it folded into its weights.
    already_fused: bool,
    #[serde(flatten)]
    report: Report,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut model = ModelFile::open(&args.file, args.output.as_deref())?;
    model.options.verify_passes = args.verify_passes;
    let target = args.report.target(&model.files()?)?;
    let fused = model.named(fuse_onnx(model.bytes.clone(), &model.options))?;
    let train = onnx::read(model.bytes.clone(), &model.options.external).map_err(repserve_reparam::Error::from);
    let inspected = Inspected::new(&model.named(train)?, &fused.model, fused.report.clone());
    let deploy = target.as_ref().map(|_| fused.model.clone());
    let report = model.named(fused.write_to(io::sink()))?;
    let inspected = Inspected { report, ..inspected };
    if let (Some(target), Some(deploy)) = (target, deploy) {
        let name = model.path.display().to_string();
        target.write(report::fusion::html(&name, &inspected.report, &deploy, None, None).as_bytes())?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&inspected)? + "\n"
    } else {
        inspected.text()
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl Inspected {
    fn new(train: &Model, model: &Model, report: Report) -> Self {
        let embeddings = Embedding::possible(model).into_iter();
        let embeddings = embeddings.filter(|embedding| train.graph.find(&embedding.name).is_some());
        let graph = &model.graph;
        let describe = |value: &ValueId| graph.describe(*value);
        Self {
            inputs: graph
                .inputs
                .iter()
                .filter(|value| graph.constant(**value).is_none())
                .map(describe)
                .collect(),
            outputs: graph.outputs.iter().map(describe).collect(),
            embeddings: embeddings.take(EMBEDDINGS_SHOWN).collect(),
            opset: model.opset(),
            already_fused: report.blocks.is_empty() && report.refusals.is_empty(),
            report,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (what, values) in [("input", &self.inputs), ("output", &self.outputs)] {
            for value in values {
                let _ = writeln!(text, "{what:<13} {value}");
            }
        }
        for Embedding { name, shape } in &self.embeddings {
            let _ = writeln!(text, "embedding     {name}: {shape:?} for an image");
        }
        let _ = writeln!(text, "opset         {}", self.opset);
        if self.already_fused {
            text.push_str("already fused: there is no block of branches left\n");
        }
        text + &self.report.to_string()
    }
}
