//! The log's lines about a model that was loaded.

use repserve_compile::{Description, Facts};
use repserve_preprocess::InputSpec;
use repserve_reparam::report::Report;
use repserve_runtime::{Int8Kernels, KernelReport};

/// What of a model's input is probably not meant so.
pub(super) fn input(spec: &InputSpec) {
    for warning in spec.warnings() {
        tracing::warn!("{warning}");
    }
}

/// Blocks, convolutions and parameters before and after, and how exact the result is.
pub(super) fn fusion(report: &Report, facts: &Facts) {
    let (before, after) = (&facts.source, &facts.deploy);
    tracing::info!(
        blocks = facts.blocks_fused,
        convolutions = %format!("{} -> {}", before.convolutions, after.convolutions),
        nodes = %format!("{} -> {}", before.nodes, after.nodes),
        parameters = %format!("{} -> {}", before.parameters, after.parameters),
        relative_error = %format!("{:.1e}", facts.equivalence.relative_error),
        top1_agreement = facts.equivalence.top1_agreement,
        "fused and verified"
    );
    if facts.refusals > 0 {
        let blocks = facts.refusals;
        tracing::info!(blocks, "left as they are; `repserve inspect` lists which and why");
    }
    for refusal in &report.refusals {
        tracing::debug!(block = refusal.block, reason = %refusal.reason, "left as it is");
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
}

/// Whose kernels compute the model, and why.
pub(super) fn kernels(facts: &Facts) {
    match (&facts.kernels, &facts.plan.int8_kernels) {
        (Some(report), _) => lowered(report),
        (None, Some(kernels)) => int8(*kernels),
        (None, None) => tracing::info!("int8 layers run in ONNX Runtime's kernels"),
    }
}

fn lowered(report: &KernelReport) {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "unmeasured".to_owned(), |ms| format!("{ms:.2}"));
    tracing::info!(
        layers = %format!("{} of {}", report.lowered, report.layers.len()),
        instruction_set = &*report.instruction_set,
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

fn int8(kernels: Int8Kernels) {
    let Int8Kernels {
        layers,
        weight_bytes,
        instruction_set,
    } = kernels;
    tracing::info!(
        layers,
        weight_bytes,
        instruction_set,
        "int8 layers run in the server's kernels"
    );
}

/// Which model was loaded, how it runs, and the seconds of each phase.
pub(super) fn loaded(description: &Description, facts: &Facts) {
    let json = |value: serde_json::Result<String>| value.unwrap_or_else(|error| error.to_string());
    tracing::info!(
        model = description.manifest.name,
        version = description.manifest.version,
        precision = facts.precision.label(),
        classes = description.labels.len(),
        cached = facts.cached,
        plan = json(serde_json::to_string(&facts.plan)),
        seconds = json(serde_json::to_string(&facts.load_seconds)),
        "loaded"
    );
}
