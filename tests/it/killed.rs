//! The real binary that is killed, hung up on or out of space while it exchanges models or writes the start-up cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::images::png;
use crate::support::models::Models;
use crate::support::process::Process;
use crate::support::{client, until};

/// Sessions that ONNX Runtime writes no files for, so that entries of the cache are all that is written.
const PLAIN: [&str; 3] = [
    "runtime.measure_ms_max=50",
    "runtime.kernels=off",
    "runtime.share_weights=false",
];
/// Fewer than an entry has.
const BLOCKS: u32 = 64;

/// The version that classifies an image.
async fn version(server: &Process) -> String {
    let url = format!("http://{}/classify?model=m", server.address);
    let request = client().post(url).header("content-type", "image/png").body(png(1));
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    body["version"].as_str().unwrap().to_owned()
}

/// The names of the files in a folder and those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files of a cache: entries, and those that are being written.
fn cached(folder: &Path) -> [usize; 2] {
    let is_entry = |path: &PathBuf| path.extension().is_some_and(|end| end == "entry");
    let of_the_cache = files(folder).into_iter().filter(|path| !path.ends_with("CACHEDIR.TAG"));
    let (entries, others): (Vec<_>, Vec<_>) = of_the_cache.partition(is_entry);
    [entries.len(), others.len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_are_read_again_at_a_signal() {
    let models = Models::new(&["m/1"]);
    let path = format!("models.path={}", models.root.path().display());
    let server = Process::start(&[&path, "cache.path=", PLAIN[0], PLAIN[1]]).await;
    assert_eq!(version(&server).await, "1");
    models.add("m/2");
    server.signal("HUP");
    while version(&server).await != "2" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_the_first_models_load_is_not_the_end() {
    let models = Models::new(&["m/1"]);
    let path = format!("models.path={}", models.root.path().display());
    let server = Process::listening_after(":", &[&path, "cache.path=", PLAIN[0], PLAIN[1]]);
    server.signal("HUP");
    let server = server.ready().await;
    assert_eq!(version(&server).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_during_an_exchange_leaves_nothing_behind() {
    let (models, cache) = (Models::new(&["m/1"]), tempfile::tempdir().unwrap());
    let path = format!("models.path={}", models.root.path().display());
    let cache_path = format!("cache.path={}", cache.path().display());
    let sets = [&path, &cache_path, PLAIN[0], PLAIN[1], "models.control=api"];
    // The exchange stops before its end: it waits for live requests that nobody sends.
    let waits = [
        "models.shadow=1",
        "models.shadow_requests=1000000",
        "models.shadow_ms_max=3600000",
    ];
    let server = Process::start(&[&sets[..], &waits].concat()).await;
    until("the first entries are written", || cached(cache.path()) == [2, 0]).await;
    models.add("m/2");
    let before = files(models.root.path());
    let url = |what: &str| format!("http://{}/v2/repository/{what}", server.address);
    let load = tokio::spawn(client().post(url("models/m/load")).send());
    loop {
        let index: Value = client().post(url("index")).send().await.unwrap().json().await.unwrap();
        if index[1]["state"] == "LOADING" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(version(&server).await, "1");
    server.signal("KILL");
    assert!(!server.ended().0.success());
    assert!(load.await.unwrap().is_err());
    assert_eq!(files(models.root.path()), before);
    let server = Process::start(&sets).await;
    assert_eq!(version(&server).await, "2");
    until("whatever was half written is gone", || cached(cache.path())[1] == 0).await;
}

/// A process for which files have an end: what happens to it there is for `setup` to say.
fn limited(setup: &str, cache: &Path) -> (Vec<String>, String) {
    let mut sets: Vec<String> = PLAIN.iter().map(|set| (*set).to_owned()).collect();
    sets.push(format!("cache.path={}", cache.display()));
    (sets, format!("ulimit -c 0 && {setup}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_it_writes_an_entry_leaves_no_entry() {
    let cache = tempfile::tempdir().unwrap();
    // The kernel ends a process that writes beyond its limit, in the middle of the write.
    let (sets, setup) = limited(&format!("ulimit -f {BLOCKS}"), cache.path());
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let (status, _) = Process::listening_after(&setup, &sets).ended();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGXFSZ)
    );
    assert_eq!(cached(cache.path()), [0, 1]);
    // The next one makes the entries, and removes what was left.
    let server = Process::start(&sets).await;
    until("the entries are written", || cached(cache.path()) == [2, 0]).await;
    drop(server);
    let server = Process::start(&sets).await;
    server.terminate();
    let (status, log) = server.ended();
    assert!(status.success());
    assert!(log.iter().any(|line| line.contains("\"cached\":true")), "{log:#?}");
    assert_eq!(cached(cache.path()), [2, 0]);
}

/// Starts a server that cannot write its cache, which must be ready nevertheless and say why once.
async fn without_space(setup: &str, cache: &Path, reason: &str) {
    let (sets, setup) = limited(setup, cache);
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let server = Process::start_after(&setup, &sets).await;
    let url = format!("http://{}/classify", server.address);
    let image = || client().post(&url).header("content-type", "image/png").body(png(1));
    assert_eq!(image().send().await.unwrap().status(), 200);
    until("it says why", || server.has_logged("cache cannot be written")).await;
    server.terminate();
    let (status, log) = server.ended();
    assert!(status.success());
    let said: Vec<_> = log
        .iter()
        .filter(|line| line.contains("cache cannot be written"))
        .collect();
    assert!(said.len() == 1 && said[0].contains(reason), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_must_not_grow_is_no_reason_not_to_serve() {
    let cache = tempfile::tempdir().unwrap();
    let setup = format!("trap '' XFSZ && ulimit -f {BLOCKS}");
    without_space(&setup, cache.path(), "File too large").await;
    assert_eq!(cached(cache.path()), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_reason_not_to_serve() {
    let disk = tempfile::tempdir().unwrap();
    let mount = |path: &Path| {
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=0755", "repserve-test"];
        Command::new("mount").args(options).arg(path).output()
    };
    if !mount(disk.path()).is_ok_and(|output| output.status.success()) {
        eprintln!("no file system can be mounted here: a limit of a file's size stands for a full disk");
        return;
    }
    let unmount = Unmount(disk.path());
    without_space(":", &disk.path().join("cache"), "No space left on device").await;
    assert_eq!(cached(disk.path()), [0, 0]);
    drop(unmount);
}

/// Unmounts a file system at its end.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
