//! What loading a model takes in memory, beside what serving it takes.

use std::path::Path;

use repserve_graph::onnx;
use repserve_measure::synth::{ARCHITECTURES, repvgg};
use tempfile::TempDir;

use crate::support::cgroup::Cgroup;
use crate::support::process::Process;
use crate::support::{client, images};

/// The folder of a RepVGG-A0 of random weights, for images of that side: 36 MB as it is trained, 33 MB fused, 79 MB as the kernels read it.
fn model(side: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let train = onnx::write(repvgg(&ARCHITECTURES[0], side, 1000, 1)).unwrap();
    let manifest = format!(
        "name = \"repvgg-a0\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [{side}, {side}]\n\
         mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
    );
    std::fs::write(folder.path().join("model.onnx"), train).unwrap();
    std::fs::write(folder.path().join("model.toml"), manifest).unwrap();
    folder
}

/// What the settings of a server say of that model, which is loaded without a cache.
fn sets(folder: &Path, kernels: &str) -> [String; 4] {
    [
        format!("model.path={}", folder.display()),
        format!("runtime.kernels={kernels}"),
        "runtime.measure_ms_max=50".to_owned(),
        "cache.path=".to_owned(),
    ]
}

async fn classify(process: &Process) {
    let url = format!("http://{}/classify", process.address);
    let request = client().post(url).header("content-type", "image/png");
    let response = request.body(images::png(1)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

/// What serving takes is measured with the kernels on, since choosing them prepares them, whatever is chosen then.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_serving_fits_is_enough_to_load() {
    let folder = model(64);
    let on = sets(folder.path(), "on");
    let serving = Process::start(&on.each_ref().map(String::as_str)).await;
    classify(&serving).await;
    let settled = serving.resident_bytes();
    drop(serving);

    let limit = settled + settled / 10;
    let auto = sets(folder.path(), "auto");
    let auto = auto.each_ref().map(String::as_str);
    // Where no group can be made, which is said on stderr, the peak alone is checked.
    let group = Cgroup::new(limit);
    let process = match &group {
        Some(group) => Process::start_within(group, &auto).await,
        None => Process::start(&auto).await,
    };
    classify(&process).await;
    let peak = process.peak_bytes();
    eprintln!(
        "{} MB settled, {} MB at the peak",
        settled / 1_000_000,
        peak / 1_000_000
    );
    assert_eq!(group.as_ref().map_or(0, Cgroup::killed), 0);
    assert!(peak <= settled + settled / 2, "{peak} bytes, of {settled} settled");
    drop(process);
}

/// Large images, so that what is measured in batches takes memory, and an empty cache, into which the graph and the weights are written.
#[tokio::test(flavor = "multi_thread")]
async fn measuring_batches_and_writing_the_cache_take_little_beside_the_model() {
    let (folder, cache) = (model(224), tempfile::tempdir().unwrap());
    let sets = [
        format!("model.path={}", folder.path().display()),
        format!("cache.path={}", cache.path().display()),
        "runtime.kernels=on".to_owned(),
    ];
    let process = Process::start(&sets.each_ref().map(String::as_str)).await;
    let entry = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|end| end == "entry");
    let entries = || {
        std::fs::read_dir(cache.path())
            .into_iter()
            .flatten()
            .flatten()
            .filter(entry)
            .count()
    };
    while entries() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    classify(&process).await;
    let (peak, settled) = (process.peak_bytes(), process.resident_bytes());
    assert!(peak <= settled + settled / 2, "{peak} bytes, of {settled} settled");
}
