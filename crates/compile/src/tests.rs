//! All stages with the models of this repository.

use super::*;
use bytes::Bytes;
use repserve_graph::onnx::{Counts, counts};
use repserve_runtime::{KernelMode, Runtime, RuntimeSettings};
use repserve_scheduler::Session;

/// The default model, in no folder.
pub(crate) fn built_in() -> Package {
    Package::from_parts(Parts {
        manifest: include_str!("../../../models/repvgg-cifar10/model.toml"),
        labels: Some(include_str!("../../../models/repvgg-cifar10/labels.txt")),
        graph: Bytes::from_static(include_bytes!("../../../models/repvgg-cifar10/model.onnx")),
        calibration: Some(include_str!("../../../models/repvgg-cifar10/calibration.json")),
    })
    .unwrap()
}

fn settings(precision: RequestedPrecision, kernels: KernelMode, share_weights: bool) -> CompileSettings {
    CompileSettings {
        precision,
        runtime: RuntimeSettings {
            kernels,
            share_weights,
            measure_ms_max: 1,
            measure_batch_max: 1,
            ..RuntimeSettings::default()
        },
        ..CompileSettings::default()
    }
}

/// The compiled default model, and what was read and written for it.
fn compiled(settings: &CompileSettings) -> (Compiled, Counts) {
    let before = counts();
    let package = built_in();
    let fused = Fused::new(package.source()).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let compiled = compile(&runtime, package, fused, settings, &mut Clock::silent()).unwrap();
    let after = counts();
    let counts = Counts {
        read: after.read - before.read,
        written: after.written - before.written,
    };
    (compiled, counts)
}

#[track_caller]
fn check_counts(settings: &CompileSettings, read: usize, written: usize) {
    let (_, found) = compiled(settings);
    assert_eq!(found, Counts { read, written });
}

#[test]
fn train_time_and_deploy_file_are_parsed_once_and_each_graph_encoded_once() {
    let fp32 = |kernels, share| settings(RequestedPrecision::Fp32, kernels, share);
    check_counts(&fp32(KernelMode::Off, false), 2, 1);
    // The lowered graph.
    check_counts(&fp32(KernelMode::On, false), 2, 2);
    // What ONNX Runtime made of it.
    check_counts(&fp32(KernelMode::Off, true), 3, 1);
    check_counts(&fp32(KernelMode::On, true), 3, 2);
    // The int8 graph; what ONNX Runtime made of it, and that with the weights inside.
    check_counts(&settings(RequestedPrecision::Int8, KernelMode::Auto, true), 3, 3);
    check_counts(&settings(RequestedPrecision::Int8, KernelMode::Off, false), 2, 2);
}

#[test]
fn kernels_that_are_measured_write_a_graph_more_only_where_some_layers_are_chosen() {
    let (compiled, found) = compiled(&settings(RequestedPrecision::Fp32, KernelMode::Auto, false));
    let kernels = compiled.facts.kernels.unwrap();
    let some = kernels.lowered > 0 && kernels.lowered < kernels.layers.len();
    // The deploy graph, the one that is measured with all layers lowered, and that with the chosen ones, which is another.
    let written = 2 + usize::from(some);
    assert_eq!(found, Counts { read: 2, written });
}

#[test]
fn int8_computes_in_the_same_kernels_whether_or_not_weights_are_shared() {
    let run = |share| {
        let (mut compiled, _) = compiled(&settings(RequestedPrecision::Int8, KernelMode::Auto, share));
        let length = compiled.description.signature.image_len();
        let image: Vec<f32> = (0..length).map(|i| ((i * 37) % 256) as f32 / 128.0 - 1.0).collect();
        let row = compiled.sessions.narrow[0].run(&[image]).unwrap();
        (row, compiled.facts.plan)
    };
    let ((shared, shared_plan), (alone, alone_plan)) = (run(true), run(false));
    assert_eq!(shared, alone);
    assert_eq!(shared_plan.int8_kernels, alone_plan.int8_kernels);
    assert!(!alone_plan.weights_shared);
    if alone_plan.int8_kernels.is_some() {
        assert_eq!(shared_plan.operators, alone_plan.operators);
    }
}

#[test]
fn an_int8_graph_is_not_lowered_and_the_facts_say_so() {
    let (int8, _) = compiled(&settings(RequestedPrecision::Int8, KernelMode::Auto, true));
    let facts = serde_json::to_value(&int8.facts).unwrap();
    assert_eq!((&facts["precision"], &facts["kernels"]), (&"int8".into(), &().into()));
    assert_eq!(facts["int8"]["served"], true);
    let (fp32, _) = compiled(&settings(RequestedPrecision::Fp32, KernelMode::On, true));
    let facts = serde_json::to_value(&fp32.facts).unwrap();
    assert_eq!((&facts["precision"], &facts["int8"]), (&"fp32".into(), &().into()));
    assert!(facts["kernels"]["lowered"].as_u64().unwrap() > 0);
    assert_eq!(facts["blocks_fused"], fp32.report.blocks.len());
    assert_eq!(facts["deploy"]["convolutions"], fp32.report.deploy.count("Conv"));
    assert!(facts["load_seconds"]["verify"].as_f64().unwrap() > 0.0);
    assert_eq!(facts["plan"]["threads"]["mode"], "auto");
}

#[test]
fn a_graph_that_is_fused_already_is_encoded_as_it_was_found() {
    let onnx = include_bytes!("../../../models/repvgg-cifar10/model.bn_folded.onnx");
    let source = Source {
        onnx: Bytes::from_static(onnx),
        ..Source::default()
    };
    let fused = Fused::new(source.clone()).unwrap();
    let deploy = Source {
        onnx: fused.onnx().clone(),
        ..Source::default()
    };
    let before = counts();
    let again = Fused::new(deploy).unwrap();
    assert_eq!(counts().written, before.written);
    assert_eq!(again.onnx(), fused.onnx());
    assert_eq!(again.report().deploy.sha256, again.report().source.sha256);
    assert!(again.report().blocks.is_empty());
}

/// The default model, which may return the features before its last layer.
pub(crate) fn with_features() -> (Package, String) {
    let mut package = built_in();
    let fused = Fused::new(package.source()).unwrap();
    let features = Embedding::possible(fused.model()).remove(0).name;
    package.manifest.output.embeddings = vec![features.clone()];
    (package, features)
}

#[test]
fn embeddings_are_verified_in_every_kind_of_session_and_a_wrong_one_is_refused() {
    let runtime = Runtime::load(None).unwrap();
    for (precision, kernels) in [
        (RequestedPrecision::Fp32, KernelMode::Off),
        (RequestedPrecision::Fp32, KernelMode::On),
        (RequestedPrecision::Int8, KernelMode::Auto),
    ] {
        let (package, features) = with_features();
        let settings = settings(precision, kernels, true);
        let fused = Fused::new(package.source()).unwrap();
        let mut compiled = compile(&runtime, package, fused, &settings, &mut Clock::silent()).unwrap();
        let signature = compiled.description.signature.clone();
        assert_eq!(signature.embedding(&features), Some(0));
        let image = vec![0.25; signature.image_len()];
        let rows = compiled.sessions.narrow[0].run(&[image.clone(), image]).unwrap();
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0].further[0].len(), signature.embeddings[0].values());
    }
}
