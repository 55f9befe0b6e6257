//! `repserve eval`: how good a model is on labelled images, and how its forms differ. [`variants`] loads the forms, [`predict`] runs them on
//! the images, [`document`] is what is found, in [`text`] and [`table`] as people read it, and [`requirement`] decides the exit code.

pub(super) mod document;
mod pictures;
mod predict;
mod requirement;
mod table;
mod text;
mod variants;

use std::path::PathBuf;

use anyhow::ensure;

use super::labelled::{self, Unknown};
use super::report::{self, ReportArgs};
use super::settings::{LibraryArgs, SettingsArgs, Used, model_flag};
use super::value::positive;
use super::{ExitCode, Outcome, output};
use crate::app;
use document::Document;
use repserve_evaluation::ClassNames;
use repserve_runtime::Runtime;
use requirement::Requirement;

/// Evaluate a model on images: accuracy with its interval, and what changes from one of its forms to another
///
/// Without labels, agreement alone. Exit code 1 where a requirement is not met.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the model (model.toml), or an ONNX file; default: the model that is built in
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Folder of images, of which each folder in it is a class (label, index or WordNet id), or a CSV file of `file,label`
    #[arg(long, value_name = "DIR|CSV")]
    images: PathBuf,
    /// Forms to evaluate side by side, the first compared with each other one: train, fused, int8, the folder of a start-up cache that holds the
    /// model, or the path of another model; default: train,fused, and int8 where the model has a calibration.json
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    variants: Vec<String>,
    /// Images to use at most, evenly spread over those found
    #[arg(long, value_name = "N", value_parser = positive::<u32>)]
    images_max: Option<u32>,
    /// What must hold, such as 'top1>=0.80', 'int8.top1>=0.80', 'agreement>=0.98' or 'top1_loss<=0.01'; may be repeated
    #[arg(long, value_name = "CONDITION", value_parser = requirement::parse)]
    require: Vec<Requirement>,
    /// Print everything as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a row an image as CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    library: LibraryArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["decode", "limits", "model", "quantize", "runtime", "verify"];

pub(super) fn run(args: &Args) -> Outcome {
    let flags = [model_flag(args.model.as_deref()), args.library.flag()];
    let settings = args.settings.load(USED, &flags)?.settings;
    let package = settings.model.open()?;
    let names = variants::names(&args.variants, &package)?;
    let runtime = Runtime::load(app::explicit(&settings))?;
    let mut variants = variants::load(&runtime, &settings, &package, &names)?;
    let labels = variants.first().map(|v| v.labels.clone()).unwrap_or_default();
    let class_names = ClassNames::new(&labels);
    let mut images = labelled::list(&args.images, &class_names, Unknown::Error)?;
    if let Some(most) = args.images_max.map(|n| n as usize).filter(|n| *n < images.len()) {
        let all = images.len();
        images = (0..most).map(|i| images[i * all / most].clone()).collect();
    }
    let found = images.len();
    let sources: Vec<PathBuf> = images.iter().map(|image| image.listed.path.clone()).collect();
    let page = args.report.target(&sources)?;
    let seen = predict::all(&mut variants, images, &settings)?;
    ensure!(
        !seen.images.is_empty(),
        "{}: none of {found} images could be read",
        args.images.display()
    );
    let document = Document::new(&variants, labels, seen, settings.quantize.confidence);
    if let Some(page) = page {
        let pictures = pictures::changed(&variants, &document, &settings);
        let name = &package.manifest.name;
        page.write(report::evaluation::html(name, &document, &pictures).as_bytes())?;
    }
    let text = match (args.json, args.csv) {
        (true, _) => serde_json::to_string_pretty(&document)? + "\n",
        (_, true) => table::csv(&document)?,
        _ => text::of(&document),
    };
    output::print(&text)?;
    let unmet: Vec<String> = args.require.iter().flat_map(|r| r.unmet(&document)).collect();
    unmet.iter().for_each(|line| output::complain(line));
    Ok(if unmet.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
