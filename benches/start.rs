//! How long a start takes beside a bare session of ONNX Runtime: `cargo bench --bench start`.
//!
//! RepVGG-A0 with random weights, or with `-- --model DIR` the model in that folder; `--program FILE` is another build of the server. Both are processes, started in turn: the bare one loads the
//! library, makes one session of the fused graph on all cores and runs one image; the server is asked for `/readyz` until that says 200. The
//! first start, which fills the cache, is measured once. The last line compares the medians with what is wanted: 1.3 bare starts and 0.1 s.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use repserve::model::ModelSettings;
use repserve_compile::Fused;
use repserve_graph::onnx;
use repserve_measure::synth::{ARCHITECTURES, repvgg};
use repserve_runtime::{ModelSession, Runtime, SessionOptions};

/// What makes a process a bare one: the fused graph.
const BARE: &str = "REPSERVE_START_BENCH";
const ROUNDS: usize = 9;
/// What the second start may take: so many bare starts, and so many seconds.
const FACTOR_MAX: f64 = 1.3;
const EXTRA_SECONDS_MAX: f64 = 0.1;
const MANIFEST: &str = "name = \"repvgg-a0\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [224, 224]\n\
    mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n";

fn main() {
    if let Ok(file) = std::env::var(BARE) {
        return bare(Path::new(&file));
    }
    let folder = tempfile::tempdir().unwrap();
    let program = given("--program").unwrap_or_else(|| env!("CARGO_BIN_EXE_repserve").into());
    let model = given("--model").unwrap_or_else(|| generated(folder.path()));
    let settings = ModelSettings {
        path: model.clone(),
        ..ModelSettings::default()
    };
    let package = settings.open().unwrap();
    let fused = Fused::new(package.source()).unwrap();
    let file = folder.path().join("fused.onnx");
    std::fs::write(&file, fused.onnx()).unwrap();
    drop((package, fused));
    let cache = folder.path().join("cache");
    let first = served(&program, &model, &cache);
    let (mut bares, mut seconds) = (Vec::new(), Vec::new());
    println!("first start, without a cache: {first:.3} s");
    println!("{:>8} {:>10} {:>12}", "round", "bare s", "from cache s");
    for round in 1..=ROUNDS {
        bares.push(bare_process(&file));
        seconds.push(served(&program, &model, &cache));
        println!("{round:>8} {:>10.3} {:>12.3}", bares[round - 1], seconds[round - 1]);
    }
    let (bare, second) = (median(&mut bares), median(&mut seconds));
    let wanted = FACTOR_MAX * bare + EXTRA_SECONDS_MAX;
    println!("{:>8} {bare:>10.3} {second:>12.3}", "median");
    println!(
        "wanted: at most {FACTOR_MAX} x {bare:.3} s + {EXTRA_SECONDS_MAX} s = {wanted:.3} s: {}",
        if second <= wanted { "holds" } else { "does not hold" }
    );
}

/// The path after a flag.
fn given(flag: &str) -> Option<PathBuf> {
    let mut words = std::env::args().skip_while(|word| word != flag).skip(1);
    words.next().map(PathBuf::from)
}

/// A folder with RepVGG-A0 of random weights.
fn generated(folder: &Path) -> PathBuf {
    let model = folder.join("model");
    std::fs::create_dir(&model).unwrap();
    let train = onnx::write(repvgg(&ARCHITECTURES[0], 224, 1000, 1)).unwrap();
    std::fs::write(model.join("model.onnx"), train).unwrap();
    std::fs::write(model.join("model.toml"), MANIFEST).unwrap();
    model
}

/// What a program does that only runs the fused graph.
fn bare(file: &Path) {
    let runtime = Runtime::load(None).unwrap();
    let options = SessionOptions {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..SessionOptions::default()
    };
    let mut session = ModelSession::from_file(&runtime, file, &options).unwrap();
    let [channels, height, width] = [3, 224, 224];
    let image = vec![0.5; channels * height * width];
    let rows = session.run(&[&image[..]], [channels, height, width]).unwrap();
    assert!(rows[0].iter().all(|value| value.is_finite()));
    println!("ran");
}

/// Seconds from the start of a bare process until it has run its image.
fn bare_process(file: &Path) -> f64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let began = Instant::now();
    let mut child = command.env(BARE, file).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!(line == "ran\n" && child.wait().unwrap().success());
    took
}

/// Seconds from the start of a server until it is ready; it is then stopped, once both entries of the cache are there.
fn served(program: &Path, model: &Path, cache: &Path) -> f64 {
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "log.format=json",
        "--model",
    ]);
    command
        .arg(model)
        .arg("--set")
        .arg(format!("cache.path={}", cache.display()));
    let began = Instant::now();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = log.find_map(|line| address(&line.unwrap())).unwrap();
    std::thread::spawn(move || log.for_each(drop));
    while !is_ready(address) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed().as_secs_f64();
    while entries(cache) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    end(child);
    took
}

fn address(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["address"].as_str()?.parse().ok()
}

fn is_ready(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).is_ok() && response.starts_with("HTTP/1.1 200")
}

fn entries(cache: &Path) -> usize {
    let files = std::fs::read_dir(cache).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|end| end == "entry"))
        .count()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
