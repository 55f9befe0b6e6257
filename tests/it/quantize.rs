//! Int8 from the images to the predictions: calibrating, the graph that ONNX Runtime runs, the gate.

use std::path::Path;

use repserve::config::Settings;
use repserve::model::PrecisionChoice;
use repserve_graph::onnx;
use repserve_measure::synth::{Architecture, repvgg};
use repserve_quantize::Otherwise;
use serde_json::Value;

use crate::support::binary::{check_error, run, stderr, stdout};
use crate::support::images::png;
use crate::support::{Server, beside, checkout, probabilities, settings, tar};

/// A folder with a small generated RepVGG for 32x32 pixels.
fn small_model() -> tempfile::TempDir {
    let architecture = Architecture {
        name: "small",
        blocks: [1, 2, 1, 1],
        widths: [8, 8, 16, 16, 24],
        groups: 1,
    };
    let dir = tempfile::tempdir().unwrap();
    let onnx = onnx::write(repvgg(&architecture, 32, 10, 7)).unwrap();
    std::fs::write(dir.path().join("model.onnx"), onnx).unwrap();
    let toml = "name = \"small\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [32, 32]\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n";
    std::fs::write(dir.path().join("model.toml"), toml).unwrap();
    dir
}

/// A folder with `count` images.
fn pictures(count: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..count {
        std::fs::write(dir.path().join(format!("{seed:03}.png")), png(seed * 7)).unwrap();
    }
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn int8() -> Settings {
    let mut settings = settings();
    settings.model.precision = PrecisionChoice::Int8;
    settings
}

async fn card(server: &Server, model: &str) -> Value {
    let body: Value = server.get(&format!("/v2/models/{model}")).await.json().await.unwrap();
    body["parameters"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn calibrating_twice_writes_the_same_file_and_it_serves() {
    let (model, images) = (small_model(), pictures(40));
    std::fs::write(images.path().join("broken.png"), &png(1)[..80]).unwrap();
    let file = model.path().join("calibration.json");
    let calibrate = || {
        let output = run(&[
            "calibrate",
            "--model",
            text(model.path()),
            "--images",
            text(images.path()),
            "--set",
            "quantize.top1_agreement_min=0.5",
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (output, std::fs::read_to_string(&file).unwrap())
    };
    let (output, first) = calibrate();
    assert!(
        stderr(&output).contains("broken.png: left out: "),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("1 of 41 images could not be read"));
    assert!(stdout(&output).contains("written to "), "{}", stdout(&output));
    let (_, second) = calibrate();
    assert!(first == second, "two runs on the same images differ");

    let parsed: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(parsed["images"]["count"], 40);
    let evidence = &parsed["evidence"];
    assert_eq!(
        (&evidence["folds"], &evidence["agreement"]["images"]),
        (&4.into(), &40.into())
    );
    let mut settings = int8();
    settings.model.path = model.path().to_owned();
    settings.quantize.top1_agreement_min = 0.5;
    let server = Server::ready(settings).await;
    let card = card(&server, "small").await;
    assert_eq!(card["precision"], "int8");
    assert_eq!(card["int8"]["agreement"], evidence["agreement"], "both count the same");
    assert_eq!(card["int8"]["judgement"]["agreement"]["of"], 40);
    let pictures = |figures: &Value| (figures["images"].clone(), figures["top1_agreement"].clone());
    assert_eq!(pictures(&card["int8"]["here"]), pictures(&parsed["gate"]["agreement"]));
    assert!(card["int8"]["times_as_fast"].as_f64().unwrap() > 0.0, "{card}");
}

#[test]
fn steps_are_left_out_and_other_views_compared_on_request() {
    let (model, images) = (small_model(), pictures(40));
    let calibrate = |without: &str| {
        run(&[
            "calibrate",
            "--model",
            text(model.path()),
            "--images",
            text(images.path()),
            "--views",
            "2",
            "--without",
            without,
            "--set",
            "quantize.top1_agreement_min=0.5",
            "--set",
            "quantize.kl_divergence_max=9",
        ])
    };
    let output = calibrate("rounding,bias");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("\nother views of the images: top-1 agreement "), "{said}");
    let written = std::fs::read_to_string(model.path().join("calibration.json")).unwrap();
    let parsed: Value = serde_json::from_str(&written).unwrap();
    let method = parsed["method"].as_str().unwrap();
    assert!(method.ends_with("; left out: rounding, bias"), "{method}");
    assert_eq!(parsed["evidence"]["views"]["images"], 80);
    let share = parsed["int8_share"].as_f64().unwrap();
    assert!((0.8..=1.0).contains(&share), "{share}");

    let output = calibrate("luck");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("must be one of equalization, ranges, rounding, bias, sums, finer"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_model_answers_in_int8_as_in_fp32() {
    let exact = Server::ready(settings()).await;
    let server = Server::ready(int8()).await;
    for seed in 0..10 {
        let exact = probabilities(&exact.classify(png(seed)).await["predictions"][0]);
        let int8 = probabilities(&server.classify(png(seed)).await["predictions"][0]);
        for (a, b) in exact.iter().zip(int8) {
            assert!((a - b).abs() < 0.1, "{a} in fp32, {b} in int8");
        }
    }
    let card = card(&server, "repvgg-cifar10").await;
    assert_eq!(
        (&card["precision"], &card["int8"]["served"]),
        (&"int8".into(), &true.into())
    );
    assert!(
        card["int8"]["agreement"]["top1_agreement"].as_f64().unwrap() >= 0.98,
        "{card}"
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains("repserve_int8_top1_agreement{model=\"repvgg-cifar10\",version=\"1\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("precision=\"int8\""), "{metrics}");
    let metrics = exact.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains("repserve_int8_"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn onnx_runtime_computes_in_int8_what_is_to_be_in_int8() {
    let server = Server::ready(int8()).await;
    let card = card(&server, "repvgg-cifar10").await;
    let operators = card["plan"]["operators"].as_object().unwrap();
    let count = |end: &str| -> u64 {
        let of = operators
            .iter()
            .filter(|(name, _)| name.rsplit("::").next() == Some(end));
        of.map(|(_, count)| count.as_u64().unwrap()).sum()
    };
    let layers_fp32 = card["int8"]["layers_fp32"].as_array().unwrap().len() as u64;
    // Its own kernels where the processor has VNNI.
    let own = card["plan"]["int8_kernels"]["layers"].as_u64().unwrap_or(0);
    assert_eq!(
        count("QLinearConv") + count("QGemm") + own,
        card["int8"]["layers"].as_u64().unwrap(),
        "{card}"
    );
    assert_eq!(
        count("Conv") + count("Gemm") + count("FusedConv"),
        layers_fp32,
        "{card}"
    );
    assert!(count("Transpose") <= 2, "layouts change at the ends only: {card}");
}

async fn refused(settings: Settings, expected: &str) {
    let error = format!("{:#}", Server::loading(settings).await.ended().await.unwrap_err());
    assert!(error.contains(expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_refuses_or_falls_back() {
    let mut settings = int8();
    settings.quantize.kl_divergence_max = 0.0;
    refused(settings.clone(), "the int8 graph differs too much from the fp32 graph").await;
    settings.quantize.otherwise = Otherwise::Fp32;
    let server = Server::ready(settings).await;
    let card = card(&server, "repvgg-cifar10").await;
    assert_eq!(
        (&card["precision"], &card["int8"]["served"]),
        (&"fp32".into(), &false.into())
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("precision=\"fp32\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calibration_that_is_missing_or_another_models_is_refused() {
    let model = small_model();
    let mut settings = int8();
    settings.model.path = model.path().to_owned();
    refused(
        settings.clone(),
        "no calibration.json; `repserve calibrate --model DIR --images DIR` writes it",
    )
    .await;
    let file = model.path().join("calibration.json");
    std::fs::copy(checkout("models/repvgg-cifar10/calibration.json"), &file).unwrap();
    refused(settings.clone(), "calibration.json was made for another model").await;
    std::fs::write(&file, "{}").unwrap();
    refused(settings.clone(), "calibration.json: it has no format").await;
    settings.model.precision = PrecisionChoice::Model;
    assert_eq!(card(&Server::ready(settings).await, "small").await["precision"], "fp32");
}

fn auto() -> Settings {
    let mut settings = settings();
    settings.model.precision = PrecisionChoice::Auto;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_serves_the_faster_of_two_and_says_which_and_why() {
    let server = Server::ready(auto()).await;
    let card = card(&server, "repvgg-cifar10").await;
    let (auto, precision) = (&card["auto"], card["precision"].as_str().unwrap());
    let ms = |side: &str| auto["measured"][side].as_f64().unwrap();
    let (fp32_ms, int8_ms) = (ms("fp32_ms"), ms("int8_ms"));
    assert!(fp32_ms > 0.0 && int8_ms > 0.0, "{card}");
    let (expected, reason) = if int8_ms <= fp32_ms {
        ("int8", "int8_as_fast")
    } else {
        ("fp32", "fp32_faster")
    };
    assert_eq!((precision, &auto["reason"]), (expected, &reason.into()), "{card}");
    assert_eq!(card["int8"]["served"], precision == "int8", "{card}");
    assert!(auto["message"].as_str().unwrap().starts_with(expected), "{card}");
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(&format!("precision=\"{precision}\"")), "{metrics}");
    assert!(
        !server.classify(png(3)).await["predictions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

/// What `auto` says where it serves fp32.
async fn fp32_of_auto(settings: Settings, model: &str, reason: &str) -> String {
    let card = card(&Server::ready(settings).await, model).await;
    assert_eq!(
        (&card["precision"], &card["auto"]["reason"]),
        (&"fp32".into(), &reason.into()),
        "{card}"
    );
    assert_eq!(card["auto"]["measured"], Value::Null);
    card["auto"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_serves_fp32_where_int8_may_not_be_served() {
    let (_dir, mut settings) = with_evidence(250, 25);
    settings.model.precision = PrecisionChoice::Auto;
    assert_eq!(settings.quantize.otherwise, Otherwise::Refuse);
    let message = fp32_of_auto(settings, "repvgg-cifar10", "int8_refused").await;
    assert!(message.contains("that excludes an agreement of 98.00 %"), "{message}");

    let model = small_model();
    let mut settings = auto();
    settings.model.path = model.path().to_owned();
    let message = fp32_of_auto(settings.clone(), "small", "no_calibration").await;
    assert!(message.contains("no calibration.json"), "{message}");
    let file = model.path().join("calibration.json");
    std::fs::copy(checkout("models/repvgg-cifar10/calibration.json"), &file).unwrap();
    let message = fp32_of_auto(settings, "small", "int8_unusable").await;
    assert!(
        message.contains("calibration.json was made for another model"),
        "{message}"
    );
}

#[test]
fn calibrate_says_what_is_wrong() {
    let (model, few, none) = (small_model(), pictures(3), pictures(0));
    let calibrate = |model: &str, images: &Path| run(&["calibrate", "--model", model, "--images", text(images)]);
    let line = format!("{} holds no image that can be read", text(none.path()));
    check_error(&calibrate(text(model.path()), none.path()), 1, &line);
    let line = "3 usable images are too few to judge int8 by; quantize.top1_agreement_floor takes 36, and a few hundred are better";
    check_error(&calibrate(text(model.path()), few.path()), 1, line);
    let line = "/nowhere is no folder and no CSV file";
    check_error(&calibrate(text(model.path()), Path::new("/nowhere")), 1, line);
    let output = calibrate("/nowhere", few.path());
    assert!(
        stderr(&output).contains("/nowhere does not exist; give a model's folder"),
        "{}",
        stderr(&output)
    );
    let output = run(&["calibrate", "--images", text(few.path())]);
    assert!(
        stderr(&output).contains("name the model's folder with --model"),
        "{}",
        stderr(&output)
    );
    let (folder, images) = (text(model.path()), text(few.path()));
    let output = run(&["calibrate", "--model", folder, "--images", images, "--images-max", "2"]);
    let line = "repserve: 2 of 3 images are used; --images-max 3 uses all, which takes longer\n";
    assert!(stderr(&output).starts_with(line), "{}", stderr(&output));
    let output = run(&["calibrate", "--images", text(few.path()), "--agreement", "2"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn calibrate_fails_where_a_server_would_refuse_and_says_what_to_do() {
    let (model, images) = (small_model(), pictures(40));
    let output = run(&[
        "calibrate",
        "--model",
        text(model.path()),
        "--images",
        text(images.path()),
        "--csv",
        "--set",
        "quantize.kl_divergence_max=0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let line = "a server will not serve this: the divergence is larger than 0 nats. Calibrate on more images";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    let table = stdout(&output);
    let mut lines = table.lines();
    let head = "layer,precision,snr_db,gain_if_fp32_db,channels,channels_equalized,returns,channels_16_bit";
    assert_eq!(lines.next(), Some(head));
    assert!(lines.count() >= 6, "{table}");
    assert!(model.path().join("calibration.json").is_file());
}

/// The default model in a folder of its own, with a calibration whose evidence is `images`, of which so many differ.
fn with_evidence(images: usize, differing: usize) -> (tempfile::TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let from = checkout("models/repvgg-cifar10");
    for name in ["model.toml", "labels.txt", "model.onnx"] {
        std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    let text = std::fs::read_to_string(from.join("calibration.json")).unwrap();
    let mut calibration: Value = serde_json::from_str(&text).unwrap();
    let evidence = &mut calibration["evidence"];
    evidence["agreement"]["images"] = images.into();
    evidence["agreement"]["top1_agreement"] = (1.0 - differing as f64 / images as f64).into();
    for count in ["images", "only_first", "only_second"] {
        evidence["labelled"][count] = 0.into();
    }
    std::fs::write(dir.path().join("calibration.json"), calibration.to_string()).unwrap();
    let mut settings = int8();
    settings.model.path = dir.path().to_owned();
    (dir, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_decides_by_how_much_the_evidence_says() {
    let (_dir, settings) = with_evidence(25, 0);
    refused(settings, "it takes at least 36").await;
    let (_dir, settings) = with_evidence(250, 25);
    refused(settings, "that excludes an agreement of 98.00 %").await;
    let judgement = async |images| {
        let (_dir, settings) = with_evidence(images, 0);
        card(&Server::ready(settings).await, "repvgg-cifar10").await["int8"]["judgement"].clone()
    };
    let few = judgement(100).await;
    assert_eq!(
        (&few["verdict"], &few["images_needed"]),
        (&"compatible".into(), &183.into())
    );
    let many = judgement(250).await;
    assert_eq!(
        (&many["verdict"], &many["images_needed"]),
        (&"shown".into(), &Value::Null)
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (model, images) = (small_model(), pictures(36));
    let folder = model.path().join("calibration.json");
    std::fs::create_dir(&folder).unwrap();
    let output = run(&[
        "calibrate",
        "--model",
        text(model.path()),
        "--images",
        text(images.path()),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("repserve: cannot write {}: ", text(&folder));
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_answers_change_on_images_that_nobody_calibrated_on() {
    let Some(archive) = beside("cifar10/val.tar") else {
        return;
    };
    let files = tar::files(&archive);
    let (exact, int8) = (Server::ready(settings()).await, Server::ready(int8()).await);
    let mut same = 0;
    let chosen: Vec<_> = files.iter().step_by(10).collect();
    for (_, bytes) in &chosen {
        let best = async |server: &Server| {
            server.classify(bytes.clone()).await["predictions"][0]["classes"][0]["index"].clone()
        };
        same += usize::from(best(&exact).await == best(&int8).await);
    }
    assert!(same as f64 >= 0.985 * chosen.len() as f64, "{same} of {}", chosen.len());
}
