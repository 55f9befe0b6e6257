//! Model folders that point elsewhere, and files that never end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use repserve_compile::Package;

use crate::support::binary::{repserve, stderr};
use crate::support::checkout;

/// Longer than anything here takes, shorter than for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// A copy of the built-in model's folder.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["model.toml", "labels.txt", "model.onnx", "calibration.json"] {
        fs::copy(checkout("models/repvgg-cifar10").join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// A pipe without a writer: opening it to read waits for ever.
fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn link(to: &Path, at: &Path) {
    let _ = fs::remove_file(at);
    symlink(to, at).unwrap();
}

/// Does `work` on a thread of its own, and fails where it hangs.
fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(PATIENCE).expect("it hangs")
}

/// Runs the binary; one that hangs is killed, and the test fails.
fn run(args: &[&str]) -> Output {
    let mut command = repserve(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// What is said of the folder once `change` has been at it, without the folder's own name.
fn said(change: impl Fn(&Path)) -> String {
    let dir = folder();
    change(dir.path());
    let path = dir.path().to_owned();
    let outcome = bounded(move || {
        let package = Package::open(&path)?;
        package.calibration().map(drop)
    });
    let said = outcome.map_or_else(|error| error.to_string(), |()| "opened".to_owned());
    said.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn parts_of_a_model_are_regular_files() {
    for part in ["model.toml", "labels.txt", "model.onnx", "calibration.json"] {
        let expected = format!("cannot read {part}: it is not a regular file");
        assert_eq!(said(|dir| pipe(&dir.join(part))), expected);
        let replaced_by_a_folder = |dir: &Path| {
            fs::remove_file(dir.join(part)).unwrap();
            fs::create_dir(dir.join(part)).unwrap();
        };
        assert_eq!(said(replaced_by_a_folder), expected);
    }
}

#[test]
fn parts_of_a_model_stay_in_its_folder() {
    let outside = folder();
    for part in ["model.toml", "labels.txt", "model.onnx", "calibration.json"] {
        let expected = format!("cannot read {part}: it lies outside of its folder, by its name or through a link");
        assert_eq!(said(|dir| link(&outside.path().join(part), &dir.join(part))), expected);
        assert_eq!(said(|dir| link(Path::new("/dev/zero"), &dir.join(part))), expected);
    }
    let through_a_folder = |dir: &Path| {
        symlink(outside.path(), dir.join("sub")).unwrap();
        let text = fs::read_to_string(dir.join("model.toml")).unwrap();
        fs::write(dir.join("model.toml"), text.replace("labels.txt", "sub/labels.txt")).unwrap();
    };
    assert_eq!(
        said(through_a_folder),
        "cannot read sub/labels.txt: it lies outside of its folder, by its name or through a link"
    );
}

#[test]
fn links_that_stay_in_the_folder_work_as_in_a_mounted_config_map() {
    let versioned = |dir: &Path| {
        fs::create_dir(dir.join("..2026")).unwrap();
        symlink("..2026", dir.join("..data")).unwrap();
        for part in ["model.toml", "labels.txt", "model.onnx", "calibration.json"] {
            fs::rename(dir.join(part), dir.join("..2026").join(part)).unwrap();
            symlink(Path::new("..data").join(part), dir.join(part)).unwrap();
        }
    };
    assert_eq!(said(versioned), "opened");
    let dir = folder();
    let alias = dir.path().join("alias");
    symlink(dir.path(), &alias).unwrap();
    assert_eq!(Package::open(&alias).unwrap().labels.unwrap().len(), 10);
}

#[test]
fn parts_of_a_model_are_bounded_in_size() {
    for (part, mib) in [
        ("model.toml", 1u64),
        ("labels.txt", 64),
        ("model.onnx", 2048),
        ("calibration.json", 256),
    ] {
        // A hole takes no space on the disk.
        let swollen = |dir: &Path| {
            fs::File::options()
                .write(true)
                .open(dir.join(part))
                .unwrap()
                .set_len((mib << 20) + 1)
                .unwrap()
        };
        let said = said(swollen);
        assert!(
            said.starts_with(&format!("cannot read {part}: it has more than ")),
            "{said}"
        );
    }
}

#[test]
fn no_command_waits_for_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("pipe");
    pipe(&fifo);
    let fifo = fifo.to_str().unwrap();
    let check = |args: &[&str], code: i32, line: &str| {
        let output = run(args);
        assert_eq!(stderr(&output), format!("repserve: {line}\n"));
        assert_eq!(output.status.code(), Some(code));
    };
    check(
        &["config", "--config", fifo],
        2,
        &format!("cannot read the configuration file {fifo}: it is not a regular file"),
    );
    check(
        &["convert", fifo, "-o", "/nowhere/out"],
        1,
        &format!("cannot read {fifo}: it is not a regular file"),
    );
    check(
        &["inspect", fifo],
        1,
        &format!("cannot read {fifo}: it is not a regular file"),
    );
    let keys = format!("security.api_keys_file={fifo}");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--set"];
    check(
        &[&serve[..], &[&keys]].concat(),
        1,
        &format!("cannot secure the server: {fifo}: it is not a regular file"),
    );
    let tls = [
        format!("security.tls_certificate_file={fifo}"),
        format!("security.tls_key_file={fifo}"),
    ];
    check(
        &[&serve[..], &[&tls[0], "--set", &tls[1]]].concat(),
        1,
        &format!("cannot secure the server: {fifo}: it is not a regular file"),
    );
    let output = run(&["classify", "--onnxruntime", fifo, "x.png"]);
    let said = stderr(&output);
    assert!(said.contains(&format!("{fifo}: it is not a regular file")), "{said}");
    let output = run(&["classify", "--json", fifo]);
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(shown.contains("cannot be read: it is not a regular file"), "{shown}");
}

/// A folder with a copy of the default ONNX file under `in.onnx`.
fn converting() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.onnx");
    fs::copy(checkout("models/repvgg-cifar10/model.onnx"), &file).unwrap();
    (dir, file)
}

#[test]
fn convert_does_not_write_what_it_reads() {
    let (dir, input) = converting();
    let before = fs::read(&input).unwrap();
    symlink("in.onnx", dir.path().join("link.onnx")).unwrap();
    fs::hard_link(&input, dir.path().join("hard.onnx")).unwrap();
    for name in ["in.onnx", "./in.onnx", "link.onnx", "hard.onnx"] {
        let out = dir.path().join(name);
        let output = run(&[
            "convert",
            input.to_str().unwrap(),
            "--force",
            "-o",
            out.to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(
            stderr(&output).contains("is the same file as"),
            "{name}: {}",
            stderr(&output)
        );
    }
    assert!(fs::read(&input).unwrap() == before);

    let dir = folder();
    for part in ["model.toml", "labels.txt", "model.onnx", "calibration.json"] {
        let out = dir.path().join(part);
        let output = run(&[
            "convert",
            dir.path().to_str().unwrap(),
            "--force",
            "-o",
            out.to_str().unwrap(),
        ]);
        assert!(
            stderr(&output).contains("is the same file as"),
            "{part}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn calibrate_does_not_write_what_it_reads() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let manifest = fs::read_to_string(at("model.toml")).unwrap();
    fs::copy(at("labels.txt"), at("calibration.json")).unwrap();
    fs::write(at("model.toml"), manifest.replace("labels.txt", "calibration.json")).unwrap();
    let images = at("images");
    fs::create_dir(&images).unwrap();
    fs::write(images.join("a.png"), "no image").unwrap();
    let calibrate = || {
        let (model, images) = (dir.path().to_str().unwrap(), images.to_str().unwrap());
        stderr(&run(&["calibrate", "--model", model, "--images", images]))
    };
    let said = calibrate();
    assert!(said.contains("is the same file as"), "{said}");

    fs::write(at("model.toml"), manifest).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    link(outside.path(), &at("calibration.json"));
    let said = calibrate();
    assert!(
        said.contains("cannot write") && said.contains("outside of its folder"),
        "{said}"
    );
}

#[test]
fn convert_replaces_another_file_only_by_force() {
    let (dir, input) = converting();
    let out = dir.path().join("other");
    fs::write(&out, "precious").unwrap();
    let (input, out) = (input.to_str().unwrap(), out.to_str().unwrap());
    let output = run(&["convert", input, "-o", out]);
    assert_eq!(
        stderr(&output),
        format!("repserve: {out} exists; --force replaces it\n")
    );
    assert_eq!(fs::read(out).unwrap(), b"precious");
    let output = run(&["convert", input, "-o", out, "--force"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::metadata(out).unwrap().len() > 100_000);
    let output = run(&["convert", input, "-o", "/dev/null", "--force"]);
    assert_eq!(
        stderr(&output),
        "repserve: cannot write /dev/null: it is not a regular file, and is not replaced\n"
    );
}

#[test]
fn flags_that_a_command_does_not_use_are_errors() {
    let (_dir, input) = converting();
    let input = input.to_str().unwrap();
    for args in [
        &["convert", input, "-o", "/nowhere/out", "--precision", "int8"][..],
        &["convert", input, "-o", "/nowhere/out", "--model", "."],
        &["convert", input, "-o", "/nowhere/out", "--set", "model.precision=int8"],
        &["inspect", input, "--model", "."],
        &["calibrate", "--model", ".", "--images", ".", "--precision", "int8"],
        &["calibrate", "--model", ".", "--images", ".", "--set", "server.top_k=3"],
        &["classify", input, "--set", "server.top_k=3"],
        &["health", "--model", "."],
        &["health", "--set", "limits.image_bytes_max=1"],
        &[
            "health",
            "--url",
            "http://127.0.0.1:1/",
            "--set",
            "server.listen=127.0.0.1:1",
        ],
        &["bench", "--force"],
        &["bench", "--server", "127.0.0.1:1"],
        &[
            "bench",
            "--server",
            "127.0.0.1:1",
            "--image",
            input,
            "--part",
            "deadlines",
        ],
        &["bench", "--seconds", "NaN"],
        &["bench", "--rounds", "0"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{args:?}: {}", stderr(&output));
    }
}
