//! Bad input costs little and loses nothing: the server responds, and goes on serving.

use std::path::PathBuf;

use repserve::classify::{Failure, infer};
use repserve_compile::{Fused, Source};
use repserve_scheduler::{Payload, Request};

use crate::support::binary::{run, stderr};
use crate::support::images::png;
use crate::support::{Server, beside, checkout, settings, tar};

/// Statuses that a broken image may get.
const ANSWERS: [u16; 4] = [200, 413, 415, 422];

#[tokio::test(flavor = "multi_thread")]
async fn images_cut_and_flipped_anywhere() {
    let server = Server::ready(settings()).await;
    let whole = png(5);
    let mut bad = Vec::new();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        bad.push(whole[..at.max(1)].to_vec());
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        bad.push(flipped);
    }
    check(&server, bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_of_broken_images() {
    let Some(archive) = beside("hostile/corpora.tar") else {
        return;
    };
    let mut settings = settings();
    settings.limits.image_pixels_max = 4_000_000;
    let server = Server::ready(settings).await;
    let files = tar::files(&archive);
    assert!(files.len() > 100);
    check(
        &server,
        files
            .into_iter()
            .map(|(_, bytes)| bytes)
            .filter(|b| !b.is_empty())
            .collect(),
    )
    .await;
}

async fn check(server: &Server, images: Vec<Vec<u8>>) {
    for image in images {
        let status = server.post("/classify", image).send().await.unwrap().status().as_u16();
        assert!(ANSWERS.contains(&status), "{status}");
    }
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    assert!(!text.contains("code=\"500\""), "{text}");
    server.classify(png(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_told_and_the_session_is_made_again() {
    let server = Server::ready(settings()).await;
    let served = server.served();
    let wrong = infer(&served, vec![Payload::Ready(vec![0.0; 3])], &Request::default(), None).await;
    assert!(matches!(wrong, Err(Failure::Session(_))), "{wrong:?}");
    server.classify(png(1)).await;
    let nan = infer(
        &served,
        vec![Payload::Ready(vec![f32::NAN; 3 * 32 * 32])],
        &Request::default(),
        None,
    )
    .await
    .unwrap();
    assert!(nan.0[0].values.iter().any(|v| v.is_nan()));
    server.classify(png(1)).await;
}

#[test]
fn models_cut_anywhere_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(checkout("models/repvgg-cifar10/model.onnx")).unwrap();
    for share in [1, 10, 50, 90, 99] {
        let file = dir.path().join("cut.onnx");
        std::fs::write(&file, &whole[..whole.len() * share / 100]).unwrap();
        let output = run(&["inspect", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("repserve: {}: ", file.display())));
    }
}

#[test]
fn a_model_that_cannot_be_served_ends_the_server_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.toml"), "name = \"a b\"").unwrap();
    let output = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "log.level=off",
        "--model",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let line = format!(
        "repserve: {}/model.toml: missing field `version`; `repserve init MODEL.onnx` writes a model.toml in which nothing is missing\n",
        dir.path().display()
    );
    assert_eq!(stderr(&output), line);
}

/// The default model, whose file is read each time that it is needed, fused, with one constant of the deploy graph changed.
fn spoiled() -> Fused {
    let source = Source {
        file: Some(checkout("models/repvgg-cifar10/model.onnx")),
        ..Source::default()
    };
    let mut fused = repserve_reparam::fuse_onnx(source.bytes().unwrap(), &source.options).unwrap();
    let graph = &mut fused.model.graph;
    let (id, tensor) = graph
        .constants()
        .filter(|(_, t)| t.shape().len() == 4)
        .map(|(id, t)| (id, t.clone()))
        .next()
        .unwrap();
    let mut values: Vec<f32> = tensor.to_f64().unwrap().iter().map(|v| *v as f32).collect();
    values.iter_mut().for_each(|v| *v *= 1.01);
    graph.set_constant(id, repserve_graph::Tensor::from_f32(tensor.shape(), &values));
    Fused::encode(source, fused).unwrap()
}

#[test]
fn a_graph_that_computes_something_else_is_refused_with_the_numbers() {
    let runtime = repserve_runtime::Runtime::load(None).unwrap();
    let settings = repserve_compile::VerifySettings {
        otherwise: repserve_compile::VerifyOtherwise::Refuse,
        ..settings().verify
    };
    let probes = repserve_compile::probes([3, 32, 32], &settings);
    let error = spoiled().verified(&runtime, probes, &settings).unwrap_err().to_string();
    let start = "the deploy graph does not compute what the train-time graph does: relative error ";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error.contains("on 5 images; the first block that differs makes "),
        "{error}"
    );
}

#[test]
fn a_graph_that_computes_something_else_is_replaced_by_one_that_agrees() {
    let runtime = repserve_runtime::Runtime::load(None).unwrap();
    let settings = settings().verify;
    let probes = repserve_compile::probes([3, 32, 32], &settings);
    let (fused, verified) = spoiled().verified(&runtime, probes, &settings).unwrap();
    assert!(verified.equivalence.holds());
    assert!(fused.report().warnings.iter().any(|w| w.contains("are left unfused")));
}

#[test]
fn exports_convert_and_stay_equal() {
    let Some(folder) = beside("onnx") else {
        return;
    };
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for (name, facts) in summary.as_object().unwrap() {
        if !name.starts_with("repvgg") || name.contains("unoptimized") {
            continue;
        }
        let file = find(&folder, name);
        let out = dir.path().join("out.onnx");
        let output = run(&[
            "convert",
            file.to_str().unwrap(),
            "-o",
            out.to_str().unwrap(),
            "--json",
            "--force",
        ]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            report["equivalence"]["relative_error"].as_f64().unwrap() <= 2e-6,
            "{name}: {report}"
        );
        let squeeze = if name.contains("_se.") {
            2 * facts["deploy_convs"].as_u64().unwrap()
        } else {
            0
        };
        let convolutions = report["deploy"]["operators"]["Conv"].as_u64().unwrap();
        let expected = facts["deploy_convs"].as_u64().unwrap();
        assert!(
            convolutions == expected || convolutions == expected + squeeze,
            "{name}: {convolutions}"
        );
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

/// A file of the summary; a model with external data is a folder.
fn find(folder: &std::path::Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !path.is_dir() {
        return path;
    }
    let mut files = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path());
    files.find(|f| f.extension().is_some_and(|e| e == "onnx")).unwrap()
}
