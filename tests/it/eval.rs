//! `repserve eval`: forms of a model side by side on labelled images.

use std::path::Path;

use serde_json::Value;

use crate::support::binary::{check_error, run, stderr, stdout};
use crate::support::images::png;

/// A folder of four folders that are named by classes of the default model, in three ways, with `count` images each.
fn labelled(count: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, name) in ["airplane", "Automobile", "2", "cat"].into_iter().enumerate() {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        for i in 0..count {
            let file = dir.path().join(name).join(format!("{i}.png"));
            std::fs::write(file, png(number as u32 * 100 + i * 7)).unwrap();
        }
    }
    dir
}

fn eval(images: &Path, more: &[&str]) -> std::process::Output {
    let mut args = vec!["eval", "--images", images.to_str().unwrap()];
    args.extend(more);
    run(&args)
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(output)))
}

#[test]
fn forms_of_a_model_are_compared_on_labelled_images() {
    let images = labelled(5);
    std::fs::write(images.path().join("cat/broken.png"), &png(1)[..80]).unwrap();
    let output = eval(images.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("broken.png: left out: "),
        "{}",
        stderr(&output)
    );
    let found = json(&output);
    assert_eq!(
        (&found["schema"], &found["images"], &found["labelled"]),
        (&1.into(), &20.into(), &20.into())
    );
    assert_eq!(found["unreadable"].as_array().unwrap().len(), 1);
    let names: Vec<_> = found["variants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["train", "fused", "int8"]);
    for variant in found["variants"].as_array().unwrap() {
        let accuracy = &variant["accuracy"];
        let of_classes = |key: &str| -> u64 {
            accuracy["classes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c[key].as_u64().unwrap())
                .sum()
        };
        assert_eq!((of_classes("images"), of_classes("predicted")), (20, 20));
        assert_eq!(accuracy["top1"]["count"], of_classes("right"));
        let confused = accuracy["confusions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["images"].as_u64().unwrap());
        assert_eq!(confused.sum::<u64>(), 20 - of_classes("right"));
        assert!(variant["images_per_s"].as_f64().unwrap() > 0.0);
    }
    let [fused, int8] = [0, 1].map(|i| &found["comparisons"][i]);
    assert_eq!((&fused["first"], &fused["second"]), (&"train".into(), &"fused".into()));
    assert_eq!(
        (&fused["agreement"]["count"], &fused["accuracy"]["difference"]),
        (&20.into(), &0.0.into())
    );
    assert_eq!(
        int8["changed"].as_array().unwrap().len(),
        int8["changed_files"].as_array().unwrap().len()
    );
}

#[test]
fn requirements_decide_the_exit_code() {
    let images = labelled(2);
    let with = |condition: &str| eval(images.path(), &["--variants", "train,fused", "--require", condition]);
    let met = with("agreement>=1");
    assert_eq!(met.status.code(), Some(0), "{}", stderr(&met));
    let unmet = with("fused.top1>1");
    assert_eq!(unmet.status.code(), Some(1));
    assert!(
        stderr(&unmet).contains("not met: fused.top1>1: fused has 0."),
        "{}",
        stderr(&unmet)
    );
    assert!(
        stdout(&unmet).contains("train and fused: agreement 100.00 %"),
        "{}",
        stdout(&unmet)
    );
    assert_eq!(with("int8.top1>=0").status.code(), Some(1), "there is no such variant");
    assert_eq!(with("top3>=0").status.code(), Some(2));
}

#[test]
fn without_labels_there_is_agreement_alone() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..3 {
        std::fs::write(dir.path().join(format!("{i}.png")), png(i)).unwrap();
    }
    let output = eval(
        dir.path(),
        &["--variants", "fused,int8", "--json", "--require", "top1>=0.5"],
    );
    let found = json(&output);
    assert_eq!(
        (&found["labelled"], &found["variants"][0]["accuracy"]),
        (&0.into(), &Value::Null)
    );
    assert_eq!(found["comparisons"][0]["agreement"]["of"], 3);
    assert_eq!(output.status.code(), Some(1), "no image has a label");
}

#[test]
fn a_table_names_the_labels_and_a_table_comes_out() {
    let dir = labelled(1);
    let table = dir.path().join("set.csv");
    std::fs::write(&table, "file,label\nairplane/0.png,0\ncat/0.png,\n").unwrap();
    let output = eval(&table, &["--variants", "fused", "--csv"]);
    let text = stdout(&output);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("file,label_index,label,fused_index,fused_label,fused_probability")
    );
    assert!(lines.next().unwrap().contains("airplane/0.png,0,airplane,"), "{text}");
    assert!(lines.next().unwrap().contains("cat/0.png,,,"), "{text}");
    assert_eq!(lines.next(), None);
}

#[test]
fn what_is_wrong_is_named() {
    let dir = labelled(1);
    std::fs::rename(dir.path().join("cat"), dir.path().join("cow")).unwrap();
    let cow = dir.path().join("cow");
    let line = format!(
        "{}: the folder's name is no label, index or WordNet id of the model's classes, and other folders' names are: rename it, or use a CSV file",
        cow.display()
    );
    check_error(&eval(dir.path(), &["--variants", "fused"]), 1, &line);
    let line = "--variants: fast is none of train, fused, int8, and there is no such file or folder";
    check_error(&eval(dir.path(), &["--variants", "fast"]), 1, line);
    check_error(
        &eval(dir.path(), &["--variants", "int8,int8"]),
        1,
        "--variants has int8 twice",
    );
    check_error(
        &eval(Path::new("/nowhere"), &["--variants", "fused"]),
        1,
        "/nowhere is no folder and no CSV file",
    );
}

#[test]
fn what_a_start_up_cache_holds_is_evaluated_as_it_is_served() {
    let images = labelled(3);
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().to_str().unwrap();
    let variants = format!("train,{folder}");
    // Measuring would take long, and is part of the key.
    let measured = ["--set", "runtime.measure_ms_max=20"];
    let compiled = run(&[&["compile", "-o", folder][..], &measured].concat());
    assert_eq!(compiled.status.code(), Some(0), "{}", stderr(&compiled));
    let ask = |more: &[&str]| eval(images.path(), &[&["--variants", &variants, "--json"], more].concat());
    let found = json(&ask(&measured));
    assert_eq!(found["variants"][1]["name"], folder);
    assert_eq!(found["comparisons"][0]["agreement"]["count"], 12);
    let other = ask(&["--set", "runtime.measure_ms_max=21"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("holds nothing for this model, these settings"),
        "{}",
        stderr(&other)
    );
}

#[test]
fn pictures_whose_class_changed_are_drawn() {
    let images = labelled(5);
    // The same network with its classes in another order: most classes change.
    let other = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/repvgg-cifar10");
    for name in ["labels.txt", "model.onnx"] {
        std::fs::copy(model.join(name), other.path().join(name)).unwrap();
    }
    let manifest = std::fs::read_to_string(model.join("model.toml")).unwrap();
    // Red and blue are weighed as if the pictures had other colours.
    let changed = manifest.replace("mean = [0.4914, 0.4822, 0.4465]", "mean = [0.0, 0.9, 0.9]");
    assert_ne!(changed, manifest);
    std::fs::write(other.path().join("model.toml"), changed).unwrap();
    let variants = format!("fused,{}", other.path().display());
    let page = other.path().join("eval.html");
    let output = eval(
        images.path(),
        &["--variants", &variants, "--json", "--report", page.to_str().unwrap()],
    );
    let found = json(&output);
    let changed = found["comparisons"][0]["changed"].as_array().unwrap().len();
    assert!(changed > 0, "the models agree on all pictures");
    let html = std::fs::read_to_string(page).unwrap();
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), changed);
}
