//! Images a second and latency, beside the bare loop.

use std::sync::Arc;
use std::time::Duration;

use super::offer::offer;
use super::subject::Subject;
use super::{Args, output};
use crate::app;
use crate::config::{self, Settings, Sources};
use crate::model::ModelSettings;
use repserve_compile::{Clock, Executable, Fused};
use repserve_measure::bare::{Bare, BareFigures};
use repserve_measure::load::Target;
use repserve_measure::report::{Load, Scenario, Throughput};
use repserve_measure::server::Server;
use repserve_measure::stats::{Summary, median};
use repserve_preprocess::{JpegDecode, Preprocess};
use repserve_runtime::{Batching, ModelSession, Runtime, SessionOptions};
use repserve_scheduler::Width;

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

/// Runs every load, and the bare loops beside them.
pub(super) async fn measure(
    server: &Server,
    target: &Target,
    subject: &Subject,
    args: &Args,
) -> anyhow::Result<Throughput> {
    let duration = Duration::from_secs_f64(args.seconds);
    let idle_cpu_percent = idle(server, duration).await?;
    let settings = config::load(&Sources::from_environment())?.settings;
    let (bare, lowered) = bare(subject, &settings)?;

    let (mut plain, mut same) = (Vec::new(), Vec::new());
    let mut runs: Vec<Vec<Run>> = LOADS.map(|_| Vec::new()).into();
    for round in 1..=args.rounds {
        output::complain(&format!(
            "{}: throughput, round {round} of {}",
            subject.name, args.rounds
        ));
        plain.push(bare.figures(duration)?);
        same.extend(
            lowered
                .iter()
                .map(|l| l.figures(duration))
                .collect::<Result<Vec<_>, _>>()?,
        );
        let mut capacity: f64 = 0.0;
        for (load, runs) in LOADS.iter().zip(&mut runs) {
            let run = scenario(server, target, *load, capacity, duration).await?;
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
    Ok(Throughput {
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
    let run = offer(target, load, capacity, duration, 0).await;
    let elapsed = start.elapsed();
    let after = server.usage()?;
    Ok(Run {
        summary: Summary::of(&run.samples, elapsed),
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
    let batching = Batching::default();
    let chosen = Executable::choose(&runtime, &package, &fused, batching, &compile, &mut Clock::silent())?;
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
        cores: super::cores(),
    };
    let pool = chosen.executable.pool().clone();
    let same = chosen.executable.runs_kernels().then(|| Bare {
        session: Arc::new(move |threads| {
            let width = if threads > 1 { Width::Wide } else { Width::Narrow };
            Ok(pool.session(width)?)
        }),
        ..plain.clone()
    });
    Ok((plain, same))
}
