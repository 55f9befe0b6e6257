//! `repserve calibrate`.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use indicatif::ProgressBar;

use super::labelled::{self, LabelledImage, Unknown};
use super::out_file::OutFile;
use super::report::{self, ReportArgs};
use super::settings::{LibraryArgs, SettingsArgs, Used, model_flag};
use super::value::positive;
use super::{ExitCode, Outcome, output};
use crate::app;
use crate::config::Settings;
use repserve_compile::{CALIBRATION_FILE, CalibrationImages, Package, Wanted, calibrate};
use repserve_evaluation::ClassNames;
use repserve_files::within;
use repserve_graph::onnx::{self, ExternalData};
use repserve_quantize::{Goal, Stage, Step, VIEWS_MAX};
use repserve_runtime::Runtime;

/// Measure on images how a model can compute in int8, and write calibration.json beside it
///
/// `repserve serve --precision int8` needs that file. A few hundred images of the kind that will be classified suffice. How int8 does on images
/// that it was not calibrated on is found by cross-validation; the exit code is 1 where a server would refuse it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the model (model.toml)
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder of images (searched in depth), or a CSV file of `file,label`. Where folders are named by their images' class, accuracy counts too
    #[arg(long, value_name = "DIR|CSV")]
    images: PathBuf,
    /// Images to use at most, evenly spread over those found
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive::<u32>)]
    images_max: u32,
    /// Top-1 agreement with fp32 to reach, 0 to 1; layers that hurt it most stay in fp32
    #[arg(long, value_name = "SHARE", default_value_t = Goal::default().top1_agreement, value_parser = share)]
    agreement: f64,
    /// Share of the multiplications that may stay in fp32 for it, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = Goal::default().fp32_share_max, value_parser = share)]
    fp32_share_max: f64,
    /// Compare int8 with fp32 on so many other views of each image besides, mirrored and magnified; at most 7
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=VIEWS_MAX as i64))]
    views: u32,
    /// Steps to leave out, to see what each gives: equalization, ranges, rounding, bias, sums, finer,
    /// weights-16, values-16
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = step)]
    without: Vec<Step>,
    /// Print the table of layers as CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    library: LibraryArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["decode", "limits", "model.path", "quantize", "runtime.library"];

pub(super) fn run(args: &Args) -> Outcome {
    let flags = [model_flag(args.model.as_deref()), args.library.flag()];
    let settings = args.settings.load(USED, &flags)?.settings;
    let folder = &settings.model.path;
    ensure!(
        !folder.as_os_str().is_empty(),
        "name the model's folder with --model; the model that is built in brings its calibration.json"
    );
    let package = Package::open(folder)?;
    let names = ClassNames::new(package.labels.as_deref().unwrap_or_default());
    let found = labelled::list(&args.images, &names, Unknown::NoLabels)?;
    let sources = sources(&package, folder, &found)?;
    let target = target(folder, &sources)?;
    let page = args.report.target(&sources)?;
    let bar = Bar::new();
    let images = read(args, &package, &settings, &found, &bar)?;
    let images_min = settings.quantize.images_min();
    ensure!(
        images.len() >= images_min,
        "{} usable images are too few to judge int8 by; quantize.top1_agreement_floor takes {images_min}, and a few hundred are better",
        images.len()
    );
    let wanted = Wanted {
        goal: Goal {
            top1_agreement: args.agreement,
            fp32_share_max: args.fp32_share_max,
        },
        without: &args.without,
        views: args.views as usize,
    };
    let runtime = Runtime::load(app::explicit(&settings))?;
    let calibrated = calibrate(&runtime, &package, images, wanted, &mut |stage, done, total| {
        bar.step(stage_name(stage), done, total);
    });
    bar.0.finish_and_clear();
    let calibration = calibrated?;
    target.write(calibration.to_text().as_bytes())?;
    let judgement = settings.quantize.judge(&calibration.evidence);
    if let Some(page) = page {
        page.write(report::calibration::html(&package.manifest.name, &calibration, &judgement).as_bytes())?;
    }
    if args.csv {
        output::print(&calibration.to_csv())?;
    } else {
        let path = folder.join(CALIBRATION_FILE);
        output::print(&format!("{calibration}\n{judgement}\nwritten to {}\n", path.display()))?;
    }
    if judgement.verdict.admits() {
        return Ok(ExitCode::SUCCESS);
    }
    output::complain(&format!(
        "a server will not serve this: {}. {}",
        judgement.conclusion(),
        judgement.remedy()
    ));
    Ok(ExitCode::FAILURE)
}

/// The model's calibration.json, which replaces an earlier one, but none of what is read, and nothing outside of the folder.
fn target(folder: &Path, sources: &[PathBuf]) -> anyhow::Result<OutFile> {
    let path = folder.join(CALIBRATION_FILE);
    if let Err(error) = within(folder, Path::new(CALIBRATION_FILE))
        && !error.is_missing()
    {
        bail!("cannot write {}: {error}", path.display());
    }
    Ok(OutFile::new(&path, true, sources)?)
}

/// Every file that is read.
fn sources(package: &Package, folder: &Path, images: &[LabelledImage]) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Package::files(folder, &package.manifest);
    let external = ExternalData::Folder(folder.to_owned());
    sources.extend(onnx::external_files(package.graph.clone(), &external)?);
    sources.extend(images.iter().map(|image| image.listed.path.clone()));
    Ok(sources)
}

/// Reads the images; those that cannot be read are named and left out.
fn read(
    args: &Args,
    package: &Package,
    settings: &Settings,
    found: &[LabelledImage],
    bar: &Bar,
) -> anyhow::Result<CalibrationImages> {
    let wanted = found.len().min(args.images_max as usize);
    if wanted < found.len() {
        let all = found.len();
        bar.0.suspend(|| {
            output::complain(&format!(
                "{wanted} of {all} images are used; --images-max {all} uses all, which takes longer"
            ));
        });
    }
    let mut images = CalibrationImages::new(package, settings.limits.image(), settings.decode.jpeg)?;
    let mut left_out = 0;
    for i in 0..wanted {
        let image = &found[i * found.len() / wanted];
        if let Err(why) = add(&mut images, image, settings.limits.image_bytes_max as u64) {
            left_out += 1;
            let path = image.listed.path.display();
            bar.0.suspend(|| output::complain(&format!("{path}: left out: {why}")));
        }
        bar.step("reading images", i + 1, wanted);
    }
    ensure!(
        !images.is_empty(),
        "{} holds no image that can be read",
        args.images.display()
    );
    if left_out > 0 {
        output::complain(&format!("{left_out} of {wanted} images could not be read"));
    }
    Ok(images)
}

fn add(images: &mut CalibrationImages, image: &LabelledImage, bytes_max: u64) -> Result<(), String> {
    let file = image.listed.read(bytes_max)?;
    images.add(&file, image.label).map_err(|e| e.to_string())
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Extremes => "finding extremes",
        Stage::Distributions => "collecting distributions",
        Stage::Rounding => "rounding weights",
        Stage::Comparing => "comparing ranges",
        Stage::CrossValidation => "cross-validating",
        Stage::Sensitivity => "measuring layers",
        Stage::Views => "comparing views",
    }
}

/// The progress of each stage.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(output::progress_bar(0, "{msg:24} {bar:40} {pos}/{len}, {elapsed}"))
    }

    fn step(&self, what: &'static str, done: usize, total: usize) {
        self.0.set_message(what);
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }
}

fn step(text: &str) -> Result<Step, String> {
    Step::named(text).ok_or_else(|| format!("must be one of {}", Step::ALL.map(Step::label).join(", ")))
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err("must be 0 to 1".to_owned())
}
