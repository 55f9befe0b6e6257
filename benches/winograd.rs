//! Whole models with and without lowering, alternating in one process:
//! `cargo bench --bench winograd -- MODEL.onnx [--batch 1,4] [--threads 1,2] [--size 224x224] [--pairs 15] [--layers]`.
//!
//! The model is a fused deploy graph (`repserve convert`). Prints, for each batch and count of threads, the median milliseconds a
//! run of ONNX Runtime alone and of the lowered session, their quotient and the largest difference of outputs relative to the largest
//! output. With `--layers` also the choice for every layer.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use repserve::onnx::{self, ExternalData};
use repserve::runtime::{Layers, ModelSession, Runtime, SessionOptions, WinogradMode, lower_for_session};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|i| arguments.get(i + 1))
            .cloned()
    };
    let numbers = |name: &str, default: &str| -> Vec<usize> {
        option(name)
            .unwrap_or(default.to_owned())
            .split(['x', ','])
            .map(|n| n.parse().unwrap())
            .collect()
    };
    let Some(path) = arguments.iter().find(|a| a.ends_with(".onnx")) else {
        println!("name a fused model: cargo bench --bench winograd -- MODEL.onnx");
        return;
    };
    let size = numbers("--size", "224x224");
    let shape = [3, size[0], size[1]];
    let runtime = Runtime::load(None).unwrap();
    let model = onnx::read(std::fs::read(path).unwrap().into(), &ExternalData::None).unwrap();
    let mode = if arguments.iter().any(|a| a == "--on") {
        WinogradMode::On
    } else {
        WinogradMode::Auto
    };
    let lowered = lower_for_session(&runtime, &model, mode, shape).unwrap();
    let report = &lowered.report;
    println!(
        "{path}: {} of {} convolutions lowered with {} in {:.2} s, {:.1} MB of weights{}",
        report.lowered(),
        report.layers.len(),
        report.instruction_set,
        report.seconds,
        report.weight_bytes as f64 / 1e6,
        report.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"))
    );
    if arguments.iter().any(|a| a == "--layers") {
        for layer in &report.layers {
            println!(
                "  {:24} {:14} onnxruntime {:?} ms, kernels {:?}",
                layer.shape, layer.choice, layer.ms_onnxruntime, layer.ms_kernels
            );
        }
    }
    let plain = onnx::write(model).unwrap();
    for threads in numbers("--threads", "1") {
        let session = |model: &[u8], layers: Layers| {
            let options = SessionOptions {
                threads,
                layers,
                ..SessionOptions::default()
            };
            ModelSession::from_memory(&runtime, model, &options).unwrap()
        };
        let mut sessions = [
            session(&plain, Layers::default()),
            session(&lowered.model, lowered.layers.clone()),
        ];
        for batch in numbers("--batch", "1") {
            compare(&mut sessions, batch, threads, shape, numbers("--pairs", "15")[0]);
        }
    }
}

fn compare(sessions: &mut [ModelSession; 2], batch: usize, threads: usize, shape: [usize; 3], pairs: usize) {
    let mut state = 7u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let images: Vec<Vec<f32>> = (0..batch)
        .map(|_| (0..shape.iter().product()).map(|_| next()).collect())
        .collect();
    let mut times = [Vec::new(), Vec::new()];
    let mut outputs = [Vec::new(), Vec::new()];
    for _ in 0..pairs + 1 {
        for (which, session) in sessions.iter_mut().enumerate() {
            let start = Instant::now();
            outputs[which] = session.run(&images, shape).unwrap().concat();
            times[which].push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.remove(0);
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (plain, lowered) = (median(&mut times[0]), median(&mut times[1]));
    let scale = outputs[0].iter().fold(0f32, |m, v| m.max(v.abs()));
    let difference = outputs[0]
        .iter()
        .zip(&outputs[1])
        .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!(
        "  batch {batch}, {threads} threads: onnxruntime {plain:.2} ms, lowered {lowered:.2} ms, {:.2} times, difference {:.1e}",
        plain / lowered,
        difference / scale
    );
}
