//! `repserve bench`.

mod curve;
mod deadlines;
mod interrupt;
mod offer;
mod page;
mod subject;
mod throughput;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::value::{address, positive};
use super::{ExitCode, Outcome, output};
use page::Page;
use repserve_measure::load::Target;
use repserve_measure::process;
use repserve_measure::report::{Curve, Report};
use repserve_measure::server::Server;
use repserve_preprocess::decoder;
use subject::Subject;

/// Measure the server: beside a bare loop over the same model, image and cores, and what it serves in time under deadlines
///
/// Without --model: the built-in model and a generated RepVGG-A0 (224x224).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of a model (model.toml)
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The image to send; default: a generated JPEG, 500x375, or 32x32 for the built-in model
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Throughput, Part::Deadlines])]
    part: Vec<Part>,
    /// Seconds of each scenario in each round; one with a deadline takes at least three times its deadline
    #[arg(long, default_value_t = 1.0, value_name = "S", value_parser = seconds)]
    seconds: f64,
    /// Rounds; every figure is the median of them
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = positive::<u16>)]
    rounds: u16,
    /// Milliseconds that a request of the curve has; default: ten times what an image takes on one core
    #[arg(long, value_name = "MS", value_parser = positive::<u32>)]
    deadline_ms: Option<u32>,
    /// Measure the curve of a server that already listens at this address, also of another program
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "image", conflicts_with_all = ["model", "part"])]
    server: Option<SocketAddr>,
    /// Media type of --image, where the server needs one
    #[arg(long, default_value = "application/octet-stream", value_name = "TYPE", value_parser = header_value)]
    content_type: String,
    /// Folder for the tables (README.md) and the figures (JSON)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace such files where they exist in that folder
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON instead of the tables
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Images a second and latency, beside the bare loop
    Throughput,
    /// What is served in time, for several deadlines, closed and open loops
    Deadlines,
    /// What is served in time over the load that is offered, for one deadline
    Curve,
}

/// Longest time that one scenario may take.
const SECONDS_MAX: f64 = 3600.0;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.01..=SECONDS_MAX).contains(s));
    seconds.ok_or_else(|| format!("give a number from 0.01 to {SECONDS_MAX}"))
}

fn header_value(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    printable
        .then(|| text.to_owned())
        .ok_or_else(|| "give printable ASCII".to_owned())
}

pub(super) fn run(args: &Args) -> Outcome {
    process::raise_open_files_max().context("cannot raise the limit of open files")?;
    let scratch = tempfile::tempdir().context("a folder for the generated model")?;
    interrupt::end_at_signals(scratch.path().to_owned()).context("cannot listen for signals")?;
    let foreign = args.server.map(|address| subject::foreign(args, address)).transpose()?;
    let subjects = match foreign {
        Some(_) => Vec::new(),
        None => subject::subjects(args, scratch.path())?,
    };
    let page = args.out.as_ref().map(|folder| Page::new(folder, args));
    let page = page.transpose()?;
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reports = Vec::new();
    if let Some(target) = foreign {
        reports.push(threads.block_on(measure_foreign(&target, args))?);
    }
    for subject in subjects {
        reports.push(threads.block_on(measure(&subject, args))?);
    }
    if let Some(page) = page {
        page.write(&reports)?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&reports)? + "\n"
    } else {
        reports.iter().map(Report::markdown).collect::<Vec<_>>().join("\n")
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(subject: &Subject, args: &Args) -> anyhow::Result<Report> {
    let arguments = subject
        .folder
        .iter()
        .flat_map(|f| ["--model".to_owned(), f.display().to_string()]);
    let server = Server::start(&arguments.collect::<Vec<_>>()).await?;
    let target = Target::classify(server.address, subject.image.clone());
    let wants = |part| args.part.contains(&part);
    let mut report = Report {
        model: subject.name.clone(),
        machine: format!("{}, JPEG by {}", machine(), decoder()),
        throughput: None,
        deadlines: None,
        curve: None,
    };
    if wants(Part::Throughput) {
        report.throughput = Some(throughput::measure(&server, &target, subject, args).await?);
    }
    if wants(Part::Deadlines) {
        report.deadlines = Some(deadlines::measure(&server, &target, &subject.name, args).await?);
    }
    if wants(Part::Curve) {
        report.curve = Some(measure_curve(&subject.name, &target, args).await?);
    }
    Ok(report)
}

async fn measure_foreign(target: &Target, args: &Args) -> anyhow::Result<Report> {
    let name = target.address.to_string();
    let curve = measure_curve(&name, target, args).await?;
    Ok(Report {
        model: name,
        machine: machine(),
        throughput: None,
        deadlines: None,
        curve: Some(curve),
    })
}

async fn measure_curve(name: &str, target: &Target, args: &Args) -> anyhow::Result<Curve> {
    let deadline = args.deadline_ms.map(|ms| Duration::from_millis(ms.into()));
    curve::measure(name, machine(), target, deadline, args).await
}

/// What the figures depend on.
fn machine() -> String {
    format!("{}, {} cores", process::cpu_model(), cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
