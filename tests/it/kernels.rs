//! Lowered convolutions: the same results, and a report that lists them.

use std::path::Path;

use repserve::app;
use repserve::telemetry::Metrics;
use repserve_graph::onnx;
use repserve_measure::synth::{Architecture, repvgg};
use repserve_runtime::KernelMode;
use serde_json::Value;

use crate::support::images::png;
use crate::support::{Server, checkout, probabilities, settings};

/// A server of the default model, or of another of its files.
async fn server(mode: KernelMode, file: Option<&str>) -> (Server, Option<tempfile::TempDir>) {
    let mut settings = settings();
    settings.runtime.kernels = mode;
    let folder = file.map(|file| {
        let folder = tempfile::tempdir().unwrap();
        let source = checkout("models/repvgg-cifar10");
        for (from, to) in [
            (file, "model.onnx"),
            ("model.toml", "model.toml"),
            ("labels.txt", "labels.txt"),
        ] {
            std::fs::copy(source.join(from), folder.path().join(to)).unwrap();
        }
        folder
    });
    if let Some(folder) = &folder {
        settings.model.path = folder.path().to_owned();
    }
    (Server::ready(settings).await, folder)
}

/// What `/v2/models/{m}` says of the lowering.
async fn report(server: &Server) -> Value {
    let card: Value = server.get("/v2/models/repvgg-cifar10").await.json().await.unwrap();
    card["parameters"]["kernels"].clone()
}

async fn check(file: Option<&str>) {
    let (plain, _plain_folder) = server(KernelMode::Off, file).await;
    let none = report(&plain).await;
    assert_eq!((&none["lowered"], &none["mode"]), (&0.into(), &"off".into()));
    assert_eq!(none["reason"], "switched off");
    assert!(none["layers"].as_array().unwrap().is_empty());
    for mode in [KernelMode::On, KernelMode::Auto] {
        let (lowered, _lowered_folder) = server(mode, file).await;
        let report = report(&lowered).await;
        let layers = report["layers"].as_array().unwrap();
        assert!(!layers.is_empty());
        let chosen = layers.iter().filter(|l| l["choice"] != "onnxruntime").count();
        assert_eq!(report["lowered"], chosen);
        if mode == KernelMode::On {
            assert_eq!(chosen, layers.len());
        } else {
            assert!(layers.iter().all(|l| l["ms_kernels"].is_f64()), "{report}");
        }
        if chosen > 0 {
            assert!(report["relative_error"].as_f64().unwrap() <= 1e-5, "{report}");
            assert!(report["weight_bytes"].as_u64().unwrap() > 0);
        }
        for seed in 0..6 {
            let [expected, found] = [plain.classify(png(seed)).await, lowered.classify(png(seed)).await];
            let pairs = probabilities(&expected["predictions"][0])
                .into_iter()
                .zip(probabilities(&found["predictions"][0]));
            for (expected, found) in pairs {
                assert!((expected - found).abs() <= 1e-5, "{mode:?}: {found} is not {expected}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lowered_answers_are_the_same() {
    check(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_of_fixed_batch_is_lowered_too() {
    check(Some("model.batch1.onnx")).await;
}

/// Loads a generated model for images of `size` by `size` pixels and returns its report.
fn loaded(folder: &Path, groups: usize, size: usize, mode: KernelMode) -> Value {
    let architecture = Architecture {
        name: "grouped",
        blocks: [1, 2, 1, 1],
        widths: [16, 32, 64, 64, 96],
        groups,
    };
    std::fs::write(
        folder.join("model.onnx"),
        onnx::write(repvgg(&architecture, size, 10, 3)).unwrap(),
    )
    .unwrap();
    let toml = format!(
        "name = \"grouped\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [{size}, {size}]\n\
         interpolation = \"bilinear\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    );
    std::fs::write(folder.join("model.toml"), toml).unwrap();
    let mut settings = settings();
    settings.model.path = folder.to_owned();
    settings.runtime.kernels = mode;
    let served = app::load(&settings, &Metrics::new().unwrap(), &|_| ()).unwrap();
    serde_json::to_value(served.facts()).unwrap()["kernels"].clone()
}

#[test]
fn grouped_layers_and_odd_sizes_are_lowered() {
    let folder = tempfile::tempdir().unwrap();
    for size in [64, 75] {
        let report = loaded(folder.path(), 4, size, KernelMode::On);
        let layers = report["layers"].as_array().unwrap();
        assert!(
            layers.iter().any(|l| l["shape"].as_str().unwrap().contains("4 groups")),
            "{report}"
        );
        assert_eq!(report["lowered"], layers.len());
        assert!(report["relative_error"].as_f64().unwrap() <= 1e-5);
        let measured = loaded(folder.path(), 4, size, KernelMode::Auto);
        assert!(measured["ms_onnxruntime"].is_f64(), "{measured}");
    }
}
