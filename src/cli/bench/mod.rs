//! `repserve bench`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;

use super::out_file::OutFile;
use super::{Outcome, output};
use crate::app;
use crate::config::{self, Settings, Sources};
use crate::model::{ModelSettings, built_in};
use repserve_compile::{Clock, Executable, Fused, Package};
use repserve_files as files;
use repserve_graph::onnx;
use repserve_measure::bare::{Bare, BareFigures};
use repserve_measure::load::{self, Target};
use repserve_measure::report::{Load, Report, Scenario};
use repserve_measure::server::Server;
use repserve_measure::stats::{Summary, median};
use repserve_measure::{picture, process, synth};
use repserve_preprocess::{JpegDecode, Preprocess, decoder};
use repserve_runtime::{ModelSession, Runtime, SessionOptions};
use repserve_scheduler::Width;

/// Measure the server beside a bare loop over the same model, image and cores
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
    /// Seconds of each scenario in each round
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    seconds: f64,
    /// Rounds; every figure is the median of them
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Folder for the table (README.md), the figures (JSON) and the plots (SVG)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace such files where they exist in that folder
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// Bytes of the image to send at most.
const IMAGE_BYTES_MAX: u64 = 1 << 30;

/// The loads, in the order in which a round runs them. The open ones need the capacity that the closed ones find.
const LOADS: [Load; 8] = [
    Load::Closed(1),
    Load::Closed(4),
    Load::Closed(16),
    Load::Closed(64),
    Load::Open(50),
    Load::Open(80),
    Load::Open(120),
    Load::Open(300),
];

/// A model to measure and what is sent to it.
struct Subject {
    name: String,
    folder: Option<PathBuf>,
    image: Bytes,
}

pub(super) fn run(args: &Args) -> Outcome {
    let scratch = tempfile::tempdir().context("a folder for the generated model")?;
    let subjects = subjects(args, scratch.path())?;
    let page = args.out.as_ref().map(|folder| Page::new(folder, args));
    let page = page.transpose()?;
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reports = Vec::new();
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

fn subjects(args: &Args, scratch: &Path) -> anyhow::Result<Vec<Subject>> {
    let given = args
        .image
        .as_ref()
        .map(|file| files::read(file, IMAGE_BYTES_MAX).with_context(|| file.display().to_string()));
    let given = given.transpose()?.map(Bytes::from);
    let image = |width, height| match &given {
        Some(bytes) => Ok(bytes.clone()),
        None => picture::jpeg(width, height).map(Bytes::from),
    };
    if let Some(folder) = &args.model {
        let name = Package::manifest(folder)?.name;
        return Ok(vec![Subject {
            name,
            folder: Some(folder.clone()),
            image: image(500, 375)?,
        }]);
    }
    let built_in = Subject {
        name: built_in()?.manifest.name,
        folder: None,
        image: image(32, 32)?,
    };
    let [architecture, ..] = &synth::ARCHITECTURES;
    let model = synth::repvgg(architecture, 224, 1000, 1);
    std::fs::write(scratch.join("model.onnx"), onnx::write(model)?)?;
    std::fs::write(
        scratch.join("model.toml"),
        format!("name = \"{}\"\n{GENERATED}", architecture.name),
    )?;
    let folder = Some(scratch.to_owned());
    Ok(vec![
        built_in,
        Subject {
            name: architecture.name.to_owned(),
            folder,
            image: image(500, 375)?,
        },
    ])
}

/// The rest of a generated model's `model.toml`.
const GENERATED: &str = r#"version = "1"
file = "model.onnx"

[input]
size = [224, 224]
resize = 256
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"#;

/// What the page says of all its tables.
const PAGE_HEAD: &str = "Made by `repserve bench --out`; every figure is the median of alternating rounds in one run. The client runs on the server's cores.\n\
\n\
The bare loop decodes, preprocesses and runs one-thread sessions of ONNX Runtime on every core, with no server around them. *Same kernels*: its \
sessions have the layers that the server lowers (`runtime.kernels`), so that this column shows what the server itself costs. At three times the \
capacity the client and the refusals take what the answers lack: every refused request is read to its end, so that its connection can be used again.\n";

async fn measure(subject: &Subject, args: &Args) -> anyhow::Result<Report> {
    let duration = Duration::from_secs_f64(args.seconds);
    let arguments = subject
        .folder
        .iter()
        .flat_map(|f| ["--model".to_owned(), f.display().to_string()]);
    let server = Server::start(&arguments.collect::<Vec<_>>()).await?;
    let idle_cpu_percent = idle(&server, duration).await?;
    let settings = config::load(&Sources::from_environment())?.settings;
    let (bare, lowered) = bare(subject, &settings)?;
    let machine = format!("{}, {} cores, JPEG by {}", process::cpu_model(), bare.cores, decoder());
    let target = Target {
        address: server.address,
        image: subject.image.clone(),
    };

    let (mut plain, mut same) = (Vec::new(), Vec::new());
    let mut runs: Vec<Vec<Run>> = LOADS.map(|_| Vec::new()).into();
    for round in 1..=args.rounds {
        output::complain(&format!("{}: round {round} of {}", subject.name, args.rounds));
        plain.push(bare.figures(duration)?);
        same.extend(
            lowered
                .iter()
                .map(|l| l.figures(duration))
                .collect::<Result<Vec<_>, _>>()?,
        );
        let mut capacity: f64 = 0.0;
        for (load, runs) in LOADS.iter().zip(&mut runs) {
            let run = scenario(&server, &target, *load, capacity, duration).await?;
            if matches!(load, Load::Closed(_)) {
                capacity = capacity.max(run.summary.images_per_second);
            }
            runs.push(run);
        }
    }
    let scenarios = LOADS.iter().zip(runs).map(|(load, runs)| Scenario {
        load: *load,
        cores: median(&runs.iter().map(|r| r.cores).collect::<Vec<_>>()),
        rss_mib: median(&runs.iter().map(|r| r.rss_mib).collect::<Vec<_>>()),
        summary: Summary::median(&runs.into_iter().map(|r| r.summary).collect::<Vec<_>>()),
    });
    Ok(Report {
        model: subject.name.clone(),
        machine,
        bare: BareFigures::median(&plain),
        bare_lowered: lowered.is_some().then(|| BareFigures::median(&same)),
        scenarios: scenarios.collect(),
        idle_cpu_percent,
    })
}

struct Run {
    summary: Summary,
    cores: f64,
    rss_mib: f64,
}

async fn scenario(
    server: &Server,
    target: &Target,
    load: Load,
    capacity: f64,
    duration: Duration,
) -> anyhow::Result<Run> {
    let before = server.usage()?;
    let start = std::time::Instant::now();
    let samples = match load {
        Load::Closed(connections) => load::closed(target, connections, duration).await,
        Load::Open(percent) => load::open(target, capacity * f64::from(percent) / 100.0, duration).await,
    };
    let elapsed = start.elapsed();
    let after = server.usage()?;
    Ok(Run {
        summary: Summary::of(&samples, elapsed),
        cores: (after.cpu - before.cpu).as_secs_f64() / elapsed.as_secs_f64(),
        rss_mib: after.rss_bytes as f64 / f64::from(1 << 20),
    })
}

async fn idle(server: &Server, duration: Duration) -> anyhow::Result<f64> {
    let before = server.usage()?;
    tokio::time::sleep(duration).await;
    Ok((server.usage()?.cpu - before.cpu).as_secs_f64() / duration.as_secs_f64() * 100.0)
}

/// The loop over the same model in ONNX Runtime alone, and over sessions as the server makes them where those run other kernels.
fn bare(subject: &Subject, settings: &Settings) -> anyhow::Result<(Bare, Option<Bare>)> {
    let model = ModelSettings {
        path: subject.folder.clone().unwrap_or_default(),
        ..settings.model.clone()
    };
    let package = model.open()?;
    let fused = Fused::new(package.source())?;
    let runtime = Runtime::load(app::explicit(settings))?;
    let compile = app::compile_settings(settings, model.precision.of(&package.manifest));
    let executable = Executable::new(&runtime, &package, &fused, &compile, &mut Clock::silent())?;
    let (onnx, output) = (fused.onnx().clone(), fused.output().map(str::to_owned));
    let plain = Bare {
        session: Arc::new(move |threads| {
            let options = SessionOptions {
                threads,
                output: output.clone(),
                ..SessionOptions::default()
            };
            Ok(ModelSession::from_memory(&runtime, &onnx, &options)?)
        }),
        preprocess: Preprocess::try_from(package.manifest.input)?,
        limits: settings.limits.image(),
        jpeg: JpegDecode::default(),
        image: subject.image.clone(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let pool = executable.pool().clone();
    let same = executable.runs_kernels().then(|| Bare {
        session: Arc::new(move |threads| {
            let width = if threads > 1 { Width::Wide } else { Width::Narrow };
            Ok(pool.session(width)?)
        }),
        ..plain.clone()
    });
    Ok((plain, same))
}

/// The files of `--out`.
struct Page {
    table: OutFile,
    figures: OutFile,
}

impl Page {
    /// Makes the folder, and looks whether files in it would be replaced before anything is measured.
    fn new(folder: &Path, args: &Args) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let image = args.image.as_slice();
        let target = |name: &str| OutFile::new(&folder.join(name), args.force, image);
        Ok(Self {
            table: target("README.md")?,
            figures: target("figures.json")?,
        })
    }

    fn write(&self, reports: &[Report]) -> anyhow::Result<()> {
        let mut page = format!("# Benchmarks\n\n{PAGE_HEAD}\n");
        for report in reports {
            page += &format!("{}\n![{}]({}.svg)\n\n", report.markdown(), report.model, report.model);
        }
        self.table.write(page.as_bytes())?;
        let figures = serde_json::to_string_pretty(reports)? + "\n";
        self.figures.write(figures.as_bytes())?;
        Ok(())
    }
}
