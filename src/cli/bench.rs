//! `repserve bench`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;

use super::{Outcome, output};
use crate::app;
use crate::config::{self, Settings, Sources};
use crate::model::Package;
use repserve_graph::onnx::{self, ExternalData};
use repserve_measure::bare::{Bare, BareFigures};
use repserve_measure::load::{self, Target};
use repserve_measure::report::{Load, Report, Scenario};
use repserve_measure::server::Server;
use repserve_measure::stats::{Summary, median};
use repserve_measure::{picture, process, synth};
use repserve_preprocess::{JpegDecode, Preprocess, decoder};
use repserve_reparam::{Options, reparameterize_bytes};
use repserve_runtime::{Layers, Runtime};

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
    /// Folder for the table (README.md), the figures (figures.json)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

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
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reports = Vec::new();
    for subject in subjects {
        reports.push(threads.block_on(measure(&subject, args))?);
    }
    if let Some(folder) = &args.out {
        write(folder, &reports)?;
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
        .map(|file| std::fs::read(file).with_context(|| file.display().to_string()));
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
        name: Package::embedded()?.manifest.name,
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
sessions have the layers that the server lowers (`runtime.winograd`), so that this column shows what the server itself costs. At three times the \
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
    let (bare, machine) = bare(subject, &settings)?;
    let winograd = settings.runtime.winograd;
    let target = Target {
        address: server.address,
        image: subject.image.clone(),
    };

    let lowered = bare.lowered(winograd)?;
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

/// The loop over the same model, and what its figures depend on.
fn bare(subject: &Subject, settings: &Settings) -> anyhow::Result<(Bare, String)> {
    let package = match &subject.folder {
        Some(folder) => Package::open(folder)?,
        None => Package::embedded()?,
    };
    let output = package.manifest.output.name.clone();
    let external = package.folder.clone().map_or(ExternalData::None, ExternalData::Folder);
    let deployed = reparameterize_bytes(
        package.graph,
        &Options {
            output: output.clone(),
            external,
            ..Options::default()
        },
    )?;
    let preprocess = Preprocess::try_from(package.manifest.input)?;
    let runtime = Runtime::load(app::explicit(settings))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = format!("{}, {cores} cores, JPEG by {}", process::cpu_model(), decoder());
    let limits = settings.limits.image();
    let jpeg = JpegDecode::default();
    let (model, image) = (deployed.onnx.into(), subject.image.clone());
    Ok((
        Bare {
            runtime,
            model,
            layers: Layers::default(),
            output,
            preprocess,
            limits,
            jpeg,
            image,
            cores,
        },
        machine,
    ))
}

fn write(folder: &Path, reports: &[Report]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut page = format!("# Benchmarks\n\n{PAGE_HEAD}\n");
    for report in reports {
        page += &format!("{}\n![{}]({}.svg)\n\n", report.markdown(), report.model, report.model);
    }
    std::fs::write(folder.join("README.md"), page)?;
    std::fs::write(
        folder.join("figures.json"),
        serde_json::to_string_pretty(reports)? + "\n",
    )?;
    Ok(())
}
