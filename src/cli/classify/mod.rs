//! `repserve classify`: images without a server, through the same scheduler that the server uses.

pub(super) mod files;
mod format;
mod progress;

use std::path::PathBuf;

use anyhow::{Context, bail};
use futures_util::StreamExt;

use super::settings::{ServedArgs, SettingsArgs, Used};
use super::value::positive;
use super::{ExitCode, Outcome, output};
use crate::app;
use crate::classify::{Item, Prediction, Served, Wanted, classify};
use crate::telemetry::{self, LogSettings, Metrics};
use format::{Format, Line};
use progress::Progress;
use repserve_files::in_words;
use repserve_scheduler::Request;

/// Images that are on their way at one time.
const AHEAD: usize = 16;

/// Classify images without a server
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Images, or folders of images (searched in depth, in order of name)
    #[arg(required = true, value_name = "FILES|DIRS")]
    paths: Vec<PathBuf>,
    /// Classes for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = positive::<usize>)]
    top_k: usize,
    /// A JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values, a row a class
    #[arg(long)]
    csv: bool,
    /// Nothing on stderr but errors: not what was left out, nor how far it has come
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &[
    "batch", "cache", "decode", "limits", "model", "quantize", "runtime", "verify",
];

/// Why an image has no classes.
#[derive(Debug, serde::Serialize)]
struct Fault {
    code: &'static str,
    detail: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.settings.load(USED, &args.served.flags())?;
    let format = match (args.json, args.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Table,
    };
    let files = images(args)?;
    let warnings = LogSettings {
        level: "warn".to_owned(),
        ..LogSettings::default()
    };
    let _log = telemetry::init(&warnings).context("cannot start the log")?;
    let metrics = Metrics::new().context("the metrics contradict each other")?;
    let served = app::load(&loaded.settings, &metrics, &|_| ())?;
    let bytes_max = loaded.settings.limits.image_bytes_max as u64;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime of threads")?;
    let progress = Progress::new(files.len(), args.quiet);
    let classified = runtime.block_on(classify_all(&served, &files, args.top_k, bytes_max, format, progress));
    end(served);
    let failed = classified?;
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let images = if files.len() == 1 { "image" } else { "images" };
    output::complain(&format!("{failed} of {} {images} could not be classified", files.len()));
    Ok(ExitCode::FAILURE)
}

/// Ends the sessions before the process ends: where the reader of stdout has gone, workers are still at images, and ONNX Runtime must not
/// be torn down under them.
fn end(served: Served) {
    let leftover = served.when_dropped();
    drop(served);
    if let Ok(leftover) = leftover.blocking_recv() {
        leftover.end();
    }
}

/// The images that are meant, and a line on stderr before the model is loaded, which takes seconds.
///
/// # Errors
/// Where there is none.
fn images(args: &Args) -> anyhow::Result<Vec<files::Listed>> {
    let found = files::find(&args.paths);
    if !args.quiet {
        found.left_out().iter().for_each(|line| output::complain(line));
    }
    if let ([], Some(folder)) = (found.images.as_slice(), found.empty.first()) {
        bail!("{} holds no images", folder.display());
    }
    let mut images = found.images;
    images.extend(found.empty.into_iter().map(|path| files::Listed {
        path,
        unreadable: Some("the folder holds no images".to_owned()),
    }));
    if !args.quiet {
        let noun = if images.len() == 1 { "image" } else { "images" };
        output::complain(&format!("{} {noun}; loading and verifying the model", images.len()));
    }
    Ok(images)
}

/// Classifies in parallel, prints in order; returns how many failed.
async fn classify_all(
    served: &Served,
    files: &[files::Listed],
    top_k: usize,
    bytes_max: u64,
    format: Format,
    mut progress: Progress,
) -> anyhow::Result<usize> {
    let width = files
        .iter()
        .map(|f| f.path.to_string_lossy().chars().count())
        .max()
        .unwrap_or(0);
    output::print(format.head())?;
    let mut results = futures_util::stream::iter(files)
        .map(|listed| async move { (listed, one(served, listed, top_k, bytes_max).await) })
        .buffered(AHEAD);
    let mut failed = 0;
    while let Some((listed, result)) = results.next().await {
        let line = Line {
            file: &listed.path,
            served,
            result: result.as_ref(),
        };
        let text = format.line(&line, width);
        progress.suspend(|| {
            if let (Err(fault), true) = (&result, format != Format::Json) {
                output::complain(&format!("{}: {}", listed.path.display(), fault.detail));
            }
            output::print(&text)
        })?;
        failed += usize::from(result.is_err());
        progress.step();
    }
    progress.finish();
    Ok(failed)
}

async fn one(served: &Served, listed: &files::Listed, top_k: usize, bytes_max: u64) -> Result<Prediction, Fault> {
    let file = listed.clone();
    let bytes = tokio::task::spawn_blocking(move || file.read(bytes_max)).await;
    let bytes = bytes
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(unreadable)?;
    let item = Item {
        name: None,
        bytes: bytes.into(),
    };
    let wanted = Wanted {
        top_k,
        ..Wanted::default()
    };
    let classification = classify(served, vec![item], wanted, &Request::patient(), None)
        .await
        .map_err(|failure| Fault {
            code: failure.code(),
            detail: failure.to_string(),
        })?;
    classification.predictions.into_iter().next().ok_or_else(|| Fault {
        code: "internal",
        detail: "no prediction".to_owned(),
    })
}

fn unreadable(detail: String) -> Fault {
    Fault {
        code: "unreadable",
        detail: in_words(detail),
    }
}
