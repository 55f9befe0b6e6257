//! The log's lines about a model that was loaded.

use std::time::Duration;

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
        convolutions_before = before.convolutions,
        convolutions = after.convolutions,
        nodes_before = before.nodes,
        nodes = after.nodes,
        parameters_before = before.parameters,
        parameters = after.parameters,
        relative_error = facts.equivalence.relative_error,
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
    tracing::info!(
        layers = report.layers.len(),
        layers_lowered = report.lowered,
        instruction_set = &*report.instruction_set,
        ms_onnxruntime = report.ms_onnxruntime.map(rounded),
        ms_lowered = report.ms_lowered.map(rounded),
        relative_error = report.relative_error,
        reason = report.reason,
        "convolutions lowered to the kernels"
    );
    for layer in &report.layers {
        tracing::debug!(
            layer = layer.name,
            shape = layer.shape,
            choice = layer.choice,
            ms_kernels = layer.ms_kernels.map(rounded),
            ms_onnxruntime = layer.ms_onnxruntime.map(rounded),
            "convolution"
        );
    }
}

/// To three digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
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

/// What `precision = "auto"` chose.
pub(super) fn arithmetic(facts: &Facts) {
    let Some(auto) = &facts.auto else { return };
    let precision = facts.precision.label();
    if auto.reason.is_fault() {
        tracing::warn!(
            precision,
            reason = auto.message,
            "int8 cannot be served; fp32 is served in its place"
        );
    } else {
        tracing::info!(precision, reason = auto.message, "the arithmetic was chosen");
    }
}

/// Which model was loaded, how it runs, and the seconds that loading took.
pub(super) fn loaded(description: &Description, facts: &Facts) {
    let threads = &facts.plan.threads;
    let seconds: Duration = facts.load_seconds.0.iter().map(|(_, took)| *took).sum();
    tracing::info!(
        model = description.manifest.name,
        version = description.manifest.version,
        precision = facts.precision.label(),
        classes = description.labels.len(),
        cached = facts.cached,
        cores = threads.cores,
        cores_paid = threads.cores_paid,
        batch_max = threads.batch_max,
        wide_threads = threads.wide_threads,
        wide_max = threads.wide_max,
        decoder = facts.plan.decoder,
        weights_shared = facts.plan.weights_shared,
        seconds = rounded(seconds.as_secs_f64()),
        "loaded"
    );
    for (phase, took) in &facts.load_seconds.0 {
        tracing::debug!(
            phase = phase.label(),
            seconds = rounded(took.as_secs_f64()),
            "a phase of loading"
        );
    }
}

/// That JPEGs are decoded more slowly than they could be, in a build for which a tool was missing.
pub(super) fn decoder() {
    if let Some(warning) = decoder_warning(cfg!(feature = "jpeg-turbo-simd")) {
        tracing::warn!("{warning}");
    }
}

fn decoder_warning(has_simd: bool) -> Option<&'static str> {
    (!has_simd).then_some(
        "this binary decodes JPEG without SIMD, about 1.7 times as slowly; install nasm (`make deps`) and build it again (`make build`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_simd_says_what_mends_it() {
        assert_eq!(decoder_warning(true), None);
        let warning = decoder_warning(false).unwrap();
        assert!(
            warning.contains("`make deps`") && warning.contains("`make build`"),
            "{warning}"
        );
    }
}
