//! Resident memory of sessions of RepVGG-A0, plain, over shared weights, and with lowered layers beside: `cargo bench --bench memory`.
//!
//! Each line is measured in a process of its own. `run` is the growth while a session runs for the first time: its arena.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::process::Command;

use repserve_graph::onnx::{self, ExternalData};
use repserve_measure::synth::{ARCHITECTURES, repvgg};
use repserve_reparam::{Options, reparameterize_bytes};
use repserve_runtime::{KernelMode, Pool, Runtime, RuntimeSettings, SessionModel, lower, return_freed_memory};
use repserve_scheduler::Width;

const SIDE: usize = 224;
const CHILD: &str = "REPSERVE_MEMORY_BENCH";

fn main() {
    if let Ok(job) = std::env::var(CHILD) {
        let mut words = job.split(' ');
        let (file, mode, count) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        return measure(file, mode, count.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("repvgg-a0.onnx");
    let train = onnx::write(repvgg(&ARCHITECTURES[0], SIDE, 1000, 1)).unwrap();
    let deployed = reparameterize_bytes(train.into(), &Options::default()).unwrap();
    std::fs::write(&file, &deployed.onnx).unwrap();
    println!("RepVGG-A0, deploy graph of {:.1} MB", deployed.onnx.len() as f64 / 1e6);
    println!(
        "{:8} {:>8} {:>12} {:>12} {:>14}",
        "weights", "sessions", "loaded MB", "ran MB", "checksum"
    );
    for mode in ["plain", "shared", "lowered"] {
        for count in [1, 2, 8] {
            let job = format!("{} {mode} {count}", file.display());
            let status = Command::new(std::env::current_exe().unwrap())
                .env(CHILD, job)
                .status()
                .unwrap();
            assert!(status.success());
        }
    }
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
