//! The subcommands as a user meets them.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::binary::{check_error, repserve, run, stderr, stdout};
use crate::support::images::png;
use crate::support::{Server, checkout, settings, until};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn model() -> String {
    text(&checkout("models/repvgg-cifar10/model.onnx"))
}

/// A folder with two images, one file that is none, and one that is broken.
fn pictures() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("b.png"), png(2)).unwrap();
    std::fs::write(dir.path().join("a.png"), png(1)).unwrap();
    std::fs::write(dir.path().join("c.png"), &png(1)[..100]).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "no image").unwrap();
    dir
}

#[test]
fn classify_goes_on_after_a_bad_file() {
    let dir = pictures();
    let notes = text(&dir.path().join("notes.txt"));
    let output = run(&[
        "classify",
        "--quiet",
        "--json",
        "--top-k",
        "2",
        &notes,
        &text(dir.path()),
        "/nowhere.png",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "repserve: 3 of 5 images could not be classified\n");
    let lines: Vec<Value> = stdout(&output)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let shown: Vec<(String, &Value)> = lines
        .iter()
        .map(|l| {
            (
                l["file"].as_str().unwrap().replace(&text(dir.path()), ""),
                &l["error"]["code"],
            )
        })
        .collect();
    let null = Value::Null;
    assert_eq!(
        shown,
        [
            ("/notes.txt".into(), &Value::from("unsupported_type")),
            ("/a.png".into(), &null),
            ("/b.png".into(), &null),
            ("/c.png".into(), &Value::from("invalid_image")),
            ("/nowhere.png".into(), &Value::from("unreadable")),
        ]
    );
    assert_eq!(lines[1]["classes"].as_array().unwrap().len(), 2);
    assert!(lines[1].get("error").is_none());
    assert_eq!(lines[4]["error"]["detail"], "cannot be read: No such file or directory");
}

#[test]
fn classify_says_what_it_leaves_out_and_that_it_loads() {
    let dir = pictures();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let output = run(&["classify", &text(dir.path()), &text(&empty)]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output).replace(&text(dir.path()), "DIR");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("repserve: left out 1 file (DIR/notes.txt): in a folder, only files ending in jpg, "),
        "{said}"
    );
    assert_eq!(lines[1], "repserve: 4 images; loading and verifying the model");
    assert!(lines[2].starts_with("repserve: DIR/c.png: "), "{said}");
    assert_eq!(lines[3], "repserve: DIR/empty: the folder holds no images");
    assert_eq!(lines[4], "repserve: 2 of 4 images could not be classified");
}

#[test]
fn classify_refuses_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{} holds no images", dir.path().display());
    check_error(&run(&["classify", &text(dir.path())]), 1, &line);
}

#[test]
fn classify_ends_quietly_when_its_reader_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        std::fs::write(dir.path().join(format!("{i:02}.png")), png(i)).unwrap();
    }
    let mut child = repserve(&["classify", "--quiet", &text(dir.path())])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn serve_reports_its_errors_in_the_format_of_the_log() {
    let check = |args: &[&str], code: i32, error: &str| {
        let output = run(&[&["serve", "--listen", "127.0.0.1:0", "--set", "log.format=json"], args].concat());
        assert_eq!(output.status.code(), Some(code));
        let said = stderr(&output);
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["error"]), (&"ERROR".into(), &error.into()));
    };
    check(
        &["--model", "/nowhere"],
        1,
        "/nowhere does not exist; give a model's folder, or an ONNX file",
    );
    check(
        &["--set", "server.top_k=0"],
        2,
        "`server.top_k` (flag --set): wants a whole number (at least 1), found 0",
    );
}

#[test]
fn a_model_that_keeps_the_server_from_starting_is_told_once_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    let from = checkout("models/repvgg-cifar10");
    for name in ["model.toml", "labels.txt"] {
        std::fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    let file = folder.join("model.onnx");
    std::fs::write(&file, b"").unwrap();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--model", &text(&folder)]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let error = format!("{}: the file is empty; expected an ONNX model", file.display());
    assert!(said.ends_with(&format!("repserve: {error}\n")), "{said}");
    assert_eq!(said.matches("the file is empty").count(), 1, "{said}");
}

#[test]
fn classify_writes_tables_and_csv() {
    let dir = pictures();
    let (a, b) = (text(&dir.path().join("a.png")), text(&dir.path().join("b.png")));
    let table = run(&["classify", "--top-k", "1", &a, &b]);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    let table = stdout(&table);
    assert_eq!(table.lines().count(), 2);
    assert!(
        table.lines().all(|l| l.contains(".png  ") && l.ends_with(" %")),
        "{table}"
    );
    let csv = run(&["classify", "--csv", "--top-k", "2", &a]);
    let csv = stdout(&csv);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "file,rank,index,label,probability,error");
    assert_eq!(lines.len(), 3);
    assert!(
        lines[1].starts_with(&format!("{a},1,")) && lines[1].ends_with(','),
        "{csv}"
    );
}

#[test]
fn verifying_after_every_pass_changes_nothing_in_the_report() {
    let plain = run(&["inspect", &model(), "--json"]);
    let verified = run(&["inspect", &model(), "--json", "--verify-passes"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    assert_eq!(stdout(&verified), stdout(&plain));
}

#[test]
fn convert_writes_what_it_reports() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("deploy.onnx"));
    let output = run(&["convert", &model(), "-o", &out, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["deploy"]["operators"]["Conv"], 9);
    assert!(
        report["equivalence"]["relative_error"].as_f64().unwrap() < 1e-5,
        "{report}"
    );
    assert_eq!(report["equivalence"]["top1_agreement"], 1.0);
    let errors = |of: &str| report["errors"][of].as_array().unwrap().clone();
    assert_eq!((errors("outputs").len(), errors("blocks").len()), (1, 9), "{report}");
    let small = |error: &Value| error["relative_error"].as_f64().unwrap() < 1e-5;
    assert!(errors("outputs").iter().chain(&errors("blocks")).all(small), "{report}");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );

    let again = text(&dir.path().join("again.onnx"));
    let output = run(&["convert", &out, "-o", &again, "--verify-passes"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let same = std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap();
    assert!(same, "what is fused already comes out as it went in");
}

#[test]
fn reports_are_whole_and_replace_no_file_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let page = text(&dir.path().join("page.html"));
    let out = text(&dir.path().join("deploy.onnx"));
    for command in [
        vec!["inspect", &model(), "--report", &page],
        vec!["convert", &model(), "-o", &out, "--report", &page],
    ] {
        let output = run(&command);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let html = std::fs::read_to_string(&page).unwrap();
        assert!(
            html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"),
            "{html}"
        );
        let elsewhere = ["http://", "https://", "<script", "@import", "url("];
        assert!(elsewhere.iter().all(|part| !html.contains(part)));
        assert_eq!(html.matches("class=\"block\"").count(), 9);
    }
    std::fs::copy(model(), &out).unwrap();
    let output = run(&["inspect", &out, "--report", &out]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("which would be lost"), "{}", stderr(&output));
}

#[test]
fn convert_leaves_nothing_behind_when_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, out) = (dir.path().join("bad.onnx"), dir.path().join("out.onnx"));
    std::fs::write(&bad, b"").unwrap();
    let output = run(&["convert", &text(&bad), "-o", &text(&out)]);
    let line = format!("{}: the file is empty; expected an ONNX model", bad.display());
    check_error(&output, 1, &line);
    assert!(!out.exists());
    let output = run(&["convert", &model(), "-o", "/nowhere/out.onnx"]);
    check_error(
        &output,
        1,
        "cannot write /nowhere/out.onnx: there is no folder /nowhere; make it first",
    );
    let library = ["--onnxruntime", "/nowhere.so"];
    let output = run(&[&["convert", &model(), "-o", &text(&out)], &library[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("repserve: cannot load ONNX Runtime from /nowhere.so: there is no such file. "),
        "{}",
        stderr(&output)
    );
    assert!(!out.exists());
    let output = run(&["convert", &model(), "-o", &text(&out), "--onnxruntime", "libnowhere.so"]);
    check_error(
        &output,
        1,
        "cannot load ONNX Runtime from libnowhere.so: it is not in this folder, nor where the system's loader looks (LD_LIBRARY_PATH, \
         `ldconfig -p`). Run `make onnxruntime`, which fetches it, or point --onnxruntime or ORT_DYLIB_PATH at libonnxruntime.so (1.24 or newer)",
    );
    let output = run(&["convert", &model(), "-o", &text(&out), "--output", "features"]);
    let line = format!(
        "{}: the model has no output \"features\"; its outputs are: logits",
        model()
    );
    check_error(&output, 1, &line);
}

#[test]
fn inspect_says_what_would_be_fused() {
    let output = run(&["inspect", &model()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.contains("convolutions") && shown.contains("blocks fused"),
        "{shown}"
    );
    let output = run(&["inspect", &model(), "--json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["source"]["sha256"].as_str().unwrap().len(), 64);
    assert!(report["blocks"].as_array().unwrap().len() >= 9);
}

#[test]
fn usage_is_one_line_and_exit_code_2() {
    let output = run(&["convert", "x.onnx"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&["classify"]).status.code(), Some(2));
    check_error(&run(&["dance"]), 2, "unrecognized subcommand 'dance' (try --help)");
    check_error(
        &run(&["clasify"]),
        2,
        "unrecognized subcommand 'clasify'; did you mean 'classify'? (try --help)",
    );
    check_error(
        &run(&["serve", "--listne", "127.0.0.1:1"]),
        2,
        "unexpected argument '--listne' found; did you mean '--listen'? (try --help)",
    );
    check_error(
        &run(&["serve", "--port", "80"]),
        2,
        "unexpected argument '--port' found; did you mean '--listen 127.0.0.1:PORT'? (try --help)",
    );
    let dir = tempfile::tempdir().unwrap();
    let folder = text(dir.path());
    for (args, found, meant) in [
        (
            vec!["--model", "x"],
            "unexpected argument '--model' found",
            "repserve serve --model x",
        ),
        (
            vec!["--models=x", "--listen", "127.0.0.1:0"],
            "unexpected argument '--models' found",
            "repserve serve --models=x --listen 127.0.0.1:0",
        ),
        (
            vec![&folder],
            &format!("unrecognized subcommand '{folder}'"),
            &format!("repserve serve --model {folder}"),
        ),
    ] {
        check_error(
            &run(&args),
            2,
            &format!("{found}; did you mean '{meant}'? (try --help)"),
        );
    }
    for rounds in ["0", "many"] {
        let refused =
            format!("invalid value '{rounds}' for '--rounds <N>': must be a whole number, 1 or more (try --help)");
        check_error(&run(&["bench", "--rounds", rounds]), 2, &refused);
    }
}

#[test]
fn health_of_nobody_is_a_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let output = run(&["health", "--url", &format!("http://{address}/readyz")]);
    let line = format!(
        "nothing listens at http://{address}/readyz; start the server, or say with --url or server.listen where it listens"
    );
    check_error(&output, 1, &line);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_of_a_ready_server_is_a_success() {
    let server = crate::support::Server::ready(crate::support::settings()).await;
    let url = server.url("/readyz");
    let output = tokio::task::spawn_blocking(move || run(&["health", "--url", &url]))
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn onnxruntime_reports_to_nobody() {
    let home = tempfile::tempdir().unwrap();
    let image = home.path().join("image.png");
    std::fs::write(&image, png(1)).unwrap();
    let mut command = repserve(&["classify", image.to_str().unwrap()]);
    for silencer in [
        "ORT_DISABLE_TELEMETRY",
        "ORT_RUNNING_UNIT_TESTS",
        "CI",
        "XDG_CACHE_HOME",
    ] {
        command.env_remove(silencer);
    }
    command.env("HOME", home.path()).args(["--set", "cache.path="]);
    assert!(command.output().unwrap().status.success());
    std::fs::remove_file(image).unwrap();
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_counts_every_request_of_a_curve() {
    let server = Server::ready(settings()).await;
    let dir = pictures();
    let (address, image) = (server.address.to_string(), text(&dir.path().join("a.png")));
    let output = tokio::task::spawn_blocking(move || {
        let arguments = ["bench", "--server", &address, "--image", &image, "--deadline-ms", "20"];
        run(&[&arguments[..], &["--seconds", "0.05", "--rounds", "1", "--json"]].concat())
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let reports: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let curve = &reports[0]["curve"];
    assert!(curve["capacity_per_second"].as_f64().unwrap() > 0.0, "{curve}");
    let points = curve["points"].as_array().unwrap();
    assert_eq!(points.len(), 10);
    for point in points {
        let ends = ["in_time", "late", "refused", "expired", "failed", "not_sent"];
        let counted: u64 = ends.iter().map(|end| point[end].as_u64().unwrap()).sum();
        // 60 ms: three times the deadline.
        let offered = point["offered_per_second"].as_f64().unwrap() * 0.06;
        assert_eq!(counted as f64, offered.round(), "{point}");
        assert_eq!(point["failed"], 0, "{point}");
    }
}

/// What a process was started with; nothing where it has ended.
fn command_line(pid: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_that_is_stopped_leaves_nothing_behind() {
    for (signal, code) in [("TERM", Some(143)), ("INT", Some(130)), ("KILL", None)] {
        let scratch = tempfile::tempdir().unwrap();
        let folder = text(&checkout("models/repvgg-cifar10"));
        let arguments = ["bench", "--model", &folder, "--part", "deadlines", "--seconds", "3600"];
        let mut command = repserve(&arguments);
        let mut bench = command
            .env("TMPDIR", scratch.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = bench.id();
        let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let serves = || String::from_utf8_lossy(&command_line(children().trim())).contains("serve\0--listen");
        until("the server is started", serves).await;
        let server = children().trim().to_owned();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid.to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(bench.wait().unwrap().code(), code, "{signal}");
        until("the server has ended", || command_line(&server).is_empty()).await;
        let left = std::fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(left, usize::from(signal == "KILL"), "{signal}");
    }
}

#[test]
fn completions_and_manual_pages_name_every_subcommand() {
    let completions = stdout(&run(&["completions", "bash"]));
    assert!(completions.contains("complete -F _repserve"), "{completions}");
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["man", "--out", &text(dir.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for command in ["serve", "convert", "classify", "completions", "man"] {
        assert!(
            completions.contains(&format!("repserve__subcmd__{command}")),
            "{command}"
        );
        let page = std::fs::read_to_string(dir.path().join(format!("repserve-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(dir.path().join("repserve.1").is_file());
}
