//! fp32 and int8 of whole models, alternating in one process: `cargo bench --bench int8 [-- OPTIONS] [DIR]`.
//!
//! Measures the built-in model, and a generated RepVGG-A0 and EfficientNet-Lite0 of 224x224 pixels, which are calibrated on 32 generated
//! pictures first (that takes minutes; their predictions mean nothing, their speed does). DIR measures a model's folder instead, which must
//! hold a calibration.json. Prints the median milliseconds of a run: fp32 in ONNX Runtime alone, fp32 as the server runs it, int8 as the
//! server runs it; and the memory of a pool's sessions, each in a process of its own.
//! `--rounds N` (21); `--keep DIR`: the generated models stay there, and are not generated again; `--speed`: no memory.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use repserve::model::built_in;
use repserve_compile::{CalibrationImages, Fused, Package, Wanted, calibrate};
use repserve_graph::Model;
use repserve_graph::onnx::{self, ExternalData};
use repserve_measure::{picture, synth};
use repserve_preprocess::{JpegDecode, Limits};
use repserve_quantize::{Calibration, Goal, rewrite};
use repserve_runtime::{
    KernelMode, ModelSession, Pool, Runtime, RuntimeSettings, SessionModel, SessionOptions, lower, median,
    return_freed_memory,
};
use repserve_scheduler::Width;

const CHILD: &str = "REPSERVE_INT8_BENCH";
const VALUED: [&str; 2] = ["--rounds", "--keep"];
const PICTURES: u32 = 32;
const TOML: &str = "version = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [224, 224]\nresize = 256\n\
                    mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n";

/// A model's two graphs, as files.
struct Graphs {
    fused: Fused,
    files: [PathBuf; 2],
    shape: [usize; 3],
}

/// What the command line says.
struct Options {
    rounds: usize,
    memory: bool,
    folder: Option<String>,
    keep: Option<String>,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let after = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1).cloned();
        let is_value = |i: usize| i > 0 && VALUED.contains(&arguments[i - 1].as_str());
        let free = arguments.iter().enumerate();
        let mut free = free.filter(|(i, a)| !a.starts_with("--") && !is_value(*i));
        Self {
            rounds: after("--rounds").map_or(21, |n| n.parse().unwrap()),
            memory: !arguments.iter().any(|a| a == "--speed"),
            folder: free.next().map(|(_, a)| a.clone()),
            keep: after("--keep"),
        }
    }
}

fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        return memory(&job);
    }
    let options = Options::read();
    let scratch = tempfile::tempdir().unwrap();
    if let Some(folder) = &options.folder {
        return report(&Package::open(Path::new(folder)).unwrap(), scratch.path(), &options);
    }
    report(&built_in().unwrap(), scratch.path(), &options);
    let kept = options.keep.as_ref().map_or(scratch.path().to_owned(), PathBuf::from);
    let generate = |name: &str, train: fn() -> Model| {
        report(&generated(&kept.join(name), name, train), scratch.path(), &options);
    };
    generate("repvgg-a0", || synth::repvgg(&synth::ARCHITECTURES[0], 224, 1000, 1));
    generate("efficientnet-lite0", || synth::efficientnet_lite0(224, 1000, 1));
}

fn report(package: &Package, scratch: &Path, options: &Options) {
    let graphs = graphs(package, scratch);
    println!("{}", package.manifest.name);
    for threads in [1, 2] {
        for batch in [1, 8] {
            let [alone, fp32, int8] = speed(&graphs, batch, threads, options.rounds);
            println!(
                "  {threads} threads, batch {batch}: fp32 {alone:.2} ms in ONNX Runtime, {fp32:.2} ms as served, int8 {int8:.2} ms; \
                 {:.2} and {:.2} times",
                alone / int8,
                fp32 / int8
            );
        }
    }
    for sessions in [1, 3].into_iter().filter(|_| options.memory) {
        let [fp32, int8] = [0, 1].map(|which| loaded_mb(&graphs, which, sessions));
        println!(
            "  {sessions} sessions: fp32 {fp32:.1} MB, int8 {int8:.1} MB, {:.2} times",
            int8 / fp32
        );
    }
}

/// A network with random weights and its calibration, in a folder.
fn generated(folder: &Path, name: &str, train: fn() -> Model) -> Package {
    std::fs::create_dir_all(folder).unwrap();
    let calibrated = folder.join("calibration.json");
    if !calibrated.exists() {
        std::fs::write(folder.join("model.onnx"), onnx::write(train()).unwrap()).unwrap();
        std::fs::write(folder.join("model.toml"), format!("name = \"{name}\"\n{TOML}")).unwrap();
        let package = Package::open(folder).unwrap();
        let mut images = CalibrationImages::new(&package, Limits::default(), JpegDecode::default()).unwrap();
        for i in 0..PICTURES {
            images.add(&picture::jpeg(256 + i, 256 + 2 * i).unwrap(), None).unwrap();
        }
        let wanted = Wanted {
            goal: Goal {
                top1_agreement: 0.0,
                fp32_share_max: 0.0,
            },
            ..Wanted::default()
        };
        let runtime = Runtime::load(None).unwrap();
        let calibration = calibrate(&runtime, &package, images, wanted, &mut |_, _, _| ()).unwrap();
        std::fs::write(calibrated, calibration.to_text()).unwrap();
    }
    Package::open(folder).unwrap()
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
        fused,
        files,
        shape: [3, height, width],
    }
}

/// Median milliseconds of a run, of runs that take turns: fp32 in ONNX Runtime alone, fp32 and int8 as the server runs them.
fn speed(graphs: &Graphs, batch: usize, threads: usize, rounds: usize) -> [f64; 3] {
    let runtime = Runtime::load(None).unwrap();
    let options = SessionOptions {
        threads,
        ..SessionOptions::default()
    };
    let alone = ModelSession::from_memory(&runtime, &std::fs::read(&graphs.files[0]).unwrap(), &options).unwrap();
    let settings = RuntimeSettings {
        cores: threads,
        ..RuntimeSettings::default()
    };
    let served = |model: SessionModel| {
        let pool = Pool::new(&runtime, model, None, &settings).unwrap();
        pool.session(Width::Wide).unwrap()
    };
    let (fused, mode) = (&graphs.fused, KernelMode::Auto);
    let lowered = lower(&runtime, fused.model(), fused.plain(), mode, graphs.shape, None).unwrap();
    let mut sessions = [alone, served(lowered.model), served(session_model(&graphs.files[1]))];
    let images = vec![image(graphs.shape); batch];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..=rounds {
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
    SessionModel::encode(onnx::read(onnx, &ExternalData::None).unwrap()).unwrap()
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
