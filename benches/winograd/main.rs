//! Whole networks with and without lowering, alternating in one process: `cargo bench --bench winograd [-- OPTIONS] [FILTER]`.
//!
//! The networks are generated (`bench::synth`), fused and lowered as the server does it. Prints a line a case: medians of ONNX Runtime
//! alone and of the lowered session, their quotient, and the largest difference of outputs relative to the largest output.
//! FILTER picks the cases whose line holds it. `--rounds N` (15); `--layers`: the choice for every layer; `--mode on`: every
//! layer, unmeasured; `--export DIR`: writes the fused networks, for `benches/winograd/others.py`; `--plot FILE`: draws the quotients.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cases;
mod rounds;

use std::collections::HashMap;
use std::path::Path;

use repserve_runtime::{KernelMode, LoweredModel, Runtime, SessionModel, lower};

use cases::CASES;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let valued = ["--rounds", "--export", "--plot", "--mode"];
    let is_filter = |(i, a): &(usize, &String)| {
        !a.starts_with("--")
            && !i
                .checked_sub(1)
                .is_some_and(|i| valued.contains(&arguments[i].as_str()))
    };
    let filter = arguments
        .iter()
        .enumerate()
        .find(is_filter)
        .map_or("", |(_, a)| a.as_str());
    let rounds = option("--rounds").map_or(15, |n| n.parse().unwrap());
    let mode = match option("--mode").as_deref() {
        Some("on") => KernelMode::On,
        _ => KernelMode::Auto,
    };
    let runtime = Runtime::load(None).unwrap();
    let mut ready: HashMap<String, (SessionModel, LoweredModel)> = HashMap::new();
    let mut lines = Vec::new();
    println!("| network | run | ONNX Runtime alone | lowered | times | difference |\n|---|---|---|---|---|---|");
    for case in CASES.iter().filter(|c| c.label().contains(filter)) {
        let (plain, lowered) = ready.entry(case.network()).or_insert_with(|| {
            let fused = case.fused();
            let plain = fused.plain().clone();
            if let Some(folder) = option("--export") {
                std::fs::write(Path::new(&folder).join(case.network() + ".onnx"), &plain.onnx).unwrap();
            }
            let lowered = lower(&runtime, fused.model(), &plain, mode, case.shape(), None).unwrap();
            (plain, lowered)
        });
        let result = rounds::alternate(&runtime, plain, lowered, case, rounds);
        println!("| {} | {} |", case.label(), result.cells());
        lines.push((case.label(), result.times()));
    }
    println!();
    let mut networks: Vec<_> = ready.iter().collect();
    networks.sort_by_key(|(name, _)| name.as_str());
    for (name, (_, lowered)) in networks {
        report(name, lowered, arguments.iter().any(|a| a == "--layers"));
    }
    if let Some(file) = option("--plot") {
        std::fs::write(file, repserve_plots::speedups::svg(&lines).unwrap()).unwrap();
    }
}

fn report(name: &str, lowered: &LoweredModel, layers: bool) {
    let report = &lowered.report;
    println!(
        "{name}: {} of {} convolutions lowered with {} in {:.2} s, {:.1} MB of weights{}",
        report.lowered,
        report.layers.len(),
        report.instruction_set,
        report.seconds,
        report.weight_bytes as f64 / 1e6,
        report.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"))
    );
    for layer in report.layers.iter().filter(|_| layers) {
        let ms = |ms: Option<f64>| ms.map_or("unmeasured".to_owned(), |ms| format!("{ms:.3} ms"));
        println!(
            "  {:45} {:14} ONNX Runtime {}, {} {}",
            layer.shape,
            layer.choice,
            ms(layer.ms_onnxruntime),
            layer.algorithm,
            ms(layer.ms_kernels)
        );
    }
}
