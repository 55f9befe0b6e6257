//! What the log says of a model that was loaded.

use crate::classify::Facts;
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::report::Report;
use repserve_runtime::{Int8Kernels, WinogradReport};

/// Blocks, convolutions and parameters before and after, and how exact the result is.
pub(super) fn what_was_fused(report: &Report, equivalence: &Equivalence) {
    let (before, after) = (&report.source, &report.deploy);
    tracing::info!(
        blocks = report.blocks.len(),
        convolutions = %format!("{} -> {}", before.count("Conv"), after.count("Conv")),
        nodes = %format!("{} -> {}", before.nodes(), after.nodes()),
        parameters = %format!("{} -> {}", before.parameters, after.parameters),
        relative_error = %format!("{:.1e}", equivalence.relative_error),
        top1_agreement = equivalence.top1_agreement,
        "fused and verified"
    );
    if !report.refusals.is_empty() {
        let blocks = report.refusals.len();
        tracing::info!(blocks, "left as they are; `repserve inspect` says which and why");
    }
    for refusal in &report.refusals {
        tracing::debug!(block = refusal.block, reason = %refusal.reason, "left as it is");
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
}

/// How many convolutions the kernels compute, what that gains and how exact it is, or why there are none.
pub(super) fn what_was_lowered(report: &WinogradReport) {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "unmeasured".to_owned(), |ms| format!("{ms:.2}"));
    tracing::info!(
        layers = %format!("{} of {}", report.lowered, report.layers.len()),
        instruction_set = report.instruction_set,
        ms_onnxruntime = %ms(report.ms_onnxruntime),
        ms_lowered = %ms(report.ms_lowered),
        relative_error = report.relative_error.map(|e| format!("{e:.1e}")),
        reason = report.reason,
        "convolutions lowered to the kernels"
    );
    for layer in &report.layers {
        let (kernels, onnxruntime) = (ms(layer.ms_kernels), ms(layer.ms_onnxruntime));
        tracing::debug!(layer = layer.name, shape = layer.shape, choice = layer.choice, %kernels, %onnxruntime, "convolution");
    }
}

/// Whose kernels compute an int8 model.
pub(super) fn what_computes_in_int8(kernels: Option<Int8Kernels>) {
    match kernels {
        Some(Int8Kernels {
            layers,
            weight_bytes,
            instruction_set,
        }) => tracing::info!(
            layers,
            weight_bytes,
            instruction_set,
            "int8 layers run in the server's kernels"
        ),
        None => tracing::info!("int8 layers run in ONNX Runtime's kernels"),
    }
}

/// Which model was loaded, and the seconds of each phase.
pub(super) fn how_long_it_took(facts: &Facts) {
    let phases: Vec<String> = facts
        .load
        .iter()
        .map(|(phase, took)| format!("{phase} {:.3}", took.as_secs_f64()))
        .collect();
    tracing::info!(
        model = facts.manifest.name,
        version = facts.manifest.version,
        precision = facts.precision.label(),
        classes = facts.labels.len(),
        plan = %facts.plan,
        seconds = phases.join(", "),
        "loaded"
    );
}
