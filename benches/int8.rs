//! fp32 and int8 of whole models, alternating in one process: `cargo bench --bench int8`.
//!
//! Measures the built-in model and a generated RepVGG-A0 of 224x224 pixels, which is calibrated on 32 generated pictures
//! first (that takes a minute; its predictions mean nothing, its speed does). `-- DIR` measures a model's folder instead, which must
//! hold a calibration.json. Prints the median milliseconds of a run, their quotient, and the memory of a pool's sessions, each
//! in a process of its own.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use repserve::model::built_in;
use repserve_compile::{CalibrationImages, Fused, Package, calibrate};
use repserve_graph::onnx::{self, ExternalData};
use repserve_measure::{picture, synth};
use repserve_preprocess::{JpegDecode, Limits};
use repserve_quantize::{Calibration, Goal, rewrite};
use repserve_runtime::{
    ModelSession, Pool, Runtime, RuntimeSettings, SessionModel, SessionOptions, median, return_freed_memory,
};
use repserve_scheduler::Width;

const CHILD: &str = "REPSERVE_INT8_BENCH";
const PAIRS: usize = 21;
const PICTURES: u32 = 32;
const TOML: &str = "name = \"repvgg-a0\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [224, 224]\nresize = 256\n\
                    mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n";

/// A model's two graphs, as files.
struct Graphs {
    files: [PathBuf; 2],
    shape: [usize; 3],
}

fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        return memory(&job);
    }
    let folder = std::env::args().skip(1).find(|argument| argument != "--bench");
    let scratch = tempfile::tempdir().unwrap();
    match folder {
        Some(folder) => report(&Package::open(Path::new(&folder)).unwrap(), scratch.path()),
        None => {
            report(&built_in().unwrap(), scratch.path());
            report(&generated(scratch.path()), scratch.path());
        }
    }
}

fn report(package: &Package, scratch: &Path) {
    let graphs = graphs(package, scratch);
    println!("{}", package.manifest.name);
    for threads in [1, 2] {
        for batch in [1, 8] {
            let [fp32, int8] = speed(&graphs, batch, threads);
            println!(
                "  {threads} threads, batch {batch}: fp32 {fp32:.2} ms, int8 {int8:.2} ms, {:.2} times",
                fp32 / int8
            );
        }
    }
    for sessions in [1, 3] {
        let [fp32, int8] = [0, 1].map(|which| loaded_mb(&graphs, which, sessions));
        println!(
            "  {sessions} sessions: fp32 {fp32:.1} MB, int8 {int8:.1} MB, {:.2} times",
            int8 / fp32
        );
    }
}

/// A RepVGG-A0 with random weights and its calibration.
fn generated(folder: &Path) -> Package {
    let train = onnx::write(synth::repvgg(&synth::ARCHITECTURES[0], 224, 1000, 1)).unwrap();
    std::fs::write(folder.join("model.onnx"), train).unwrap();
    std::fs::write(folder.join("model.toml"), TOML).unwrap();
    let package = Package::open(folder).unwrap();
    let mut images = CalibrationImages::new(&package, Limits::default(), JpegDecode::default()).unwrap();
    for i in 0..PICTURES {
        images.add(&picture::jpeg(256 + i, 256 + 2 * i).unwrap(), None).unwrap();
    }
    let goal = Goal {
        top1_agreement: 0.0,
        fp32_share_max: 0.0,
    };
    let calibration = calibrate(&Runtime::load(None).unwrap(), &package, images, goal, &mut |_, _, _| ()).unwrap();
    std::fs::write(folder.join("calibration.json"), calibration.to_text()).unwrap();
    package
}

fn graphs(package: &Package, scratch: &Path) -> Graphs {
    let fused = Fused::new(package.source()).unwrap();
    let calibration = Calibration::parse(&package.calibration().unwrap().unwrap()).unwrap();
    let int8 = onnx::write(rewrite(fused.model().clone(), &calibration).unwrap()).unwrap();
    let files = ["fp32", "int8"].map(|name| scratch.join(format!("{}.{name}.onnx", package.manifest.name)));
    std::fs::write(&files[0], fused.onnx()).unwrap();
    std::fs::write(&files[1], int8).unwrap();
    let [height, width] = package.manifest.input.size.map(|side| side as usize);
    Graphs {
        files,
        shape: [3, height, width],
    }
}

/// Median milliseconds of a run, of runs that take turns.
fn speed(graphs: &Graphs, batch: usize, threads: usize) -> [f64; 2] {
    let runtime = Runtime::load(None).unwrap();
    // ONNX Runtime's own, then what the server makes of it.
    let options = SessionOptions {
        threads,
        ..SessionOptions::default()
    };
    let fp32 = ModelSession::from_memory(&runtime, &std::fs::read(&graphs.files[0]).unwrap(), &options).unwrap();
    let settings = RuntimeSettings {
        cores: threads,
        ..RuntimeSettings::default()
    };
    let pool = Pool::new(&runtime, session_model(&graphs.files[1]), None, &settings).unwrap();
    let mut sessions = [fp32, pool.session(Width::Wide).unwrap()];
    let images = vec![image(graphs.shape); batch];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..=PAIRS {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let start = Instant::now();
            session.run(&images, graphs.shape).unwrap();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.map(|times| median(&times[1..]).unwrap())
}

fn session_model(file: &Path) -> SessionModel {
    let onnx = bytes::Bytes::from(std::fs::read(file).unwrap());
    SessionModel::new(&onnx::read(onnx.clone(), &ExternalData::None).unwrap(), onnx)
}

fn image(shape: [usize; 3]) -> Vec<f32> {
    (0..shape.iter().product())
        .map(|n: usize| (n % 255) as f32 / 255.0 - 0.5)
        .collect()
}

/// Growth of the anonymous memory by a pool's sessions, as a child process finds it.
fn loaded_mb(graphs: &Graphs, which: usize, sessions: usize) -> f64 {
    let [_, height, width] = graphs.shape;
    let job = format!("{} {sessions} {height} {width}", graphs.files[which].display());
    let child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, job)
        .output()
        .unwrap();
    assert!(child.status.success());
    String::from_utf8(child.stdout).unwrap().trim().parse().unwrap()
}

fn memory(job: &str) {
    let words: Vec<&str> = job.split(' ').collect();
    let numbers: Vec<usize> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
    let shape = [3, numbers[1], numbers[2]];
    let runtime = Runtime::load(None).unwrap();
    let before = anonymous_mb();
    let model = session_model(Path::new(words[0]));
    let pool = Pool::new(&runtime, model, None, &RuntimeSettings::default()).unwrap();
    let mut sessions: Vec<_> = (0..numbers[0]).map(|_| pool.session(Width::Narrow).unwrap()).collect();
    return_freed_memory();
    let loaded = anonymous_mb() - before;
    for session in &mut sessions {
        session.run(&[image(shape)], shape).unwrap();
    }
    println!("{loaded}");
}

fn anonymous_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
