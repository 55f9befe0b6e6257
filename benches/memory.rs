//! Resident memory of sessions of RepVGG-A0, plain, over shared weights, and with lowered layers beside; then that of whole starts of RepVGG-A0
//! and of RepVGG-B3, without a start-up cache, with an empty one, and from it: `cargo bench --bench memory`. `-- starts` is the second half alone.
//!
//! Each line is measured in a process of its own. `ran` is with the growth while a session runs for the first time: its arena. `peak` is the
//! most that a start had resident, in the phase that is named; what it settles at is private or mapped from the cache. `-- starts phases` prints
//! the most of every phase.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use repserve::app::load;
use repserve::config::Settings;
use repserve::telemetry::Metrics;
use repserve_cache::CachePath;
use repserve_graph::onnx::{self, ExternalData};
use repserve_measure::synth::{ARCHITECTURES, repvgg};
use repserve_reparam::{Options, reparameterize_bytes};
use repserve_runtime::{
    KernelMode, Pool, Runtime, RuntimeSettings, SessionModel, lower, return_freed_memory, return_large_blocks,
};
use repserve_scheduler::Width;

const SIDE: usize = 224;
const CHILD: &str = "REPSERVE_MEMORY_BENCH";

fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        let words: Vec<&str> = job.split(' ').collect();
        return match words[..] {
            [folder, start, "peak" | "phases"] => serve(Path::new(folder), start, words[2] == "phases"),
            _ => measure(words[0], words[1], words[2].parse().unwrap()),
        };
    }
    let given = |word: &str| std::env::args().any(|argument| argument == word);
    if !given("starts") {
        sessions();
    }
    let phases = if given("phases") { "phases" } else { "peak" };
    println!(
        "{:10} {:8} {:>12} {:>12} {:>12} {:>14}  peak in",
        "network", "start", "peak MB", "private MB", "mapped MB", "peak/settled"
    );
    for name in ["repvgg-a0", "repvgg-b3"] {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("model.onnx"), train_time(name)).unwrap();
        std::fs::write(model.join("model.toml"), manifest(name)).unwrap();
        for start in ["none", "first", "second"] {
            child(&format!("{} {start} {phases}", folder.path().display()));
        }
    }
}

/// What sessions hold.
fn sessions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("repvgg-a0.onnx");
    let deployed = reparameterize_bytes(train_time("repvgg-a0").into(), &Options::default()).unwrap();
    std::fs::write(&file, &deployed.onnx).unwrap();
    println!("RepVGG-A0, deploy graph of {:.1} MB", deployed.onnx.len() as f64 / 1e6);
    println!(
        "{:8} {:>8} {:>12} {:>12} {:>14}",
        "weights", "sessions", "loaded MB", "ran MB", "checksum"
    );
    for mode in ["plain", "shared", "lowered"] {
        for count in [1, 2, 8] {
            child(&format!("{} {mode} {count}", file.display()));
        }
    }
}

/// The train-time graph of that network.
fn train_time(name: &str) -> Vec<u8> {
    let architecture = ARCHITECTURES.iter().find(|architecture| architecture.name == name);
    onnx::write(repvgg(architecture.unwrap(), SIDE, 1000, 1)).unwrap()
}

/// Does that job in a process of its own.
fn child(job: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    assert!(command.env(CHILD, job).status().unwrap().success());
}

fn manifest(name: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [{SIDE}, {SIDE}]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
    )
}

/// Loads the model in `folder` as the server does, and writes the cache beside it where there is to be one and it is not there.
fn serve(folder: &Path, start: &str, phases: bool) {
    return_large_blocks();
    let cache = folder.join("cache");
    let mut settings = Settings::default();
    settings.model.path = folder.join("model");
    let cached = start != "none";
    settings.cache.path = match cached {
        true => CachePath::Folder(cache.clone()),
        false => CachePath::Off,
    };
    let peaks = Peaks::default();
    let served = load(&settings, &Metrics::new().unwrap(), &|phase| peaks.begin(phase)).unwrap();
    peaks.begin("served");
    let entries = || {
        let files = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|end| end == "entry"))
            .count()
    };
    while cached && entries() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // The thread that writes them frees what it wrote.
    std::thread::sleep(Duration::from_millis(200));
    let peaks = peaks.ended();
    return_freed_memory();
    let (private, mapped) = held_mb();
    let (phase, peak) = peaks.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let ratio = peak / resident_mb();
    let network = served.name();
    println!("{network:10} {start:8} {peak:>12.1} {private:>12.1} {mapped:>12.1} {ratio:>14.2}  {phase}");
    for (phase, peak) in peaks.iter().filter(|_| phases) {
        println!("{:19} {peak:>12.1} {phase}", "");
    }
    drop(served);
}

/// The most that was resident in each phase so far, in MB.
#[derive(Default)]
struct Peaks(RefCell<Vec<(&'static str, f64)>>);

impl Peaks {
    fn begin(&self, phase: &'static str) {
        let mut peaks = self.0.borrow_mut();
        let peak = status_mb("VmHWM");
        match peaks.last_mut() {
            Some((_, last)) => *last = peak,
            None => peaks.push(("before", peak)),
        }
        peaks.push((phase, 0.0));
        // The most is counted anew from here on.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
    }

    fn ended(self) -> Vec<(&'static str, f64)> {
        self.begin("");
        self.0
            .into_inner()
            .into_iter()
            .filter(|(_, peak)| *peak > 0.0)
            .collect()
    }
}

/// Private memory, and what is mapped from the cache.
fn held_mb() -> (f64, f64) {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut private, mut mapped, mut of_cache) = (0.0, 0.0, false);
    for line in smaps.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let kilobytes = || rest.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6;
        match name {
            "Rss:" if of_cache => mapped += kilobytes(),
            "Private_Clean:" | "Private_Dirty:" if !of_cache => private += kilobytes(),
            _ if !name.ends_with(':') => of_cache = line.ends_with(".entry"),
            _ => {}
        }
    }
    (private, mapped)
}

fn measure(file: &str, mode: &str, count: usize) {
    let runtime = Runtime::load(None).unwrap();
    let before = resident_mb();
    let settings = RuntimeSettings {
        share_weights: mode != "plain",
        ..RuntimeSettings::default()
    };
    let onnx = bytes::Bytes::from(std::fs::read(file).unwrap());
    let deploy = onnx::read(onnx.clone(), &ExternalData::None).unwrap();
    let mut model = SessionModel::new(&deploy, onnx);
    if mode == "lowered" {
        let lowered = lower(&runtime, &deploy, &model, KernelMode::On, [3, SIDE, SIDE], None);
        model = lowered.unwrap().model;
    }
    drop(deploy);
    let pool = Pool::new(&runtime, model, None, &settings).unwrap();
    let image: Vec<f32> = (0..3 * SIDE * SIDE).map(|n| (n % 255) as f32 / 255.0 - 0.5).collect();
    let mut sessions: Vec<_> = (0..count).map(|_| pool.session(Width::Narrow).unwrap()).collect();
    return_freed_memory();
    let loaded = resident_mb() - before;
    let mut checksum = 0u64;
    for session in &mut sessions {
        let rows = session.run(&[&image[..]], [3, SIDE, SIDE]).unwrap();
        checksum = rows[0]
            .iter()
            .fold(0, |sum, x| sum.wrapping_mul(31).wrapping_add(u64::from(x.to_bits())));
    }
    println!(
        "{mode:8} {count:>8} {loaded:>12.1} {:>12.1} {checksum:>20x}",
        resident_mb() - before
    );
}

fn resident_mb() -> f64 {
    status_mb("VmRSS")
}

fn status_mb(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
