//! The start-up cache of the real server and command line.

use std::path::{Path, PathBuf};

use repserve::config::Settings;
use repserve::http::Stop;
use repserve_cache::CachePath;

use crate::support::binary::{run, stderr, stdout};
use crate::support::{Server, images, probabilities, settings, until};

fn with_cache(folder: &Path) -> Settings {
    let mut settings = settings();
    settings.cache.path = CachePath::Folder(folder.to_owned());
    settings
}

/// The entries that are whole.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "entry"))
        .collect()
}

/// Starts a server, classifies, and stops it; what came out, and whether all was taken from the cache.
async fn start(folder: &Path) -> (Vec<f64>, bool) {
    let server = Server::ready(with_cache(folder)).await;
    let found = server.classify(images::png(3)).await;
    let cached = server.served().facts().cached;
    until("both entries are written", || entries(folder).len() == 2).await;
    server.say(Stop::Drain);
    server.ended().await.unwrap();
    (probabilities(&found["predictions"][0]), cached)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_start_takes_all_from_the_cache_and_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (first, cached) = start(folder.path()).await;
    assert!(!cached);
    let (second, cached) = start(folder.path()).await;
    assert!(cached);
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = start(folder.path()).await;
    for entry in entries(folder.path()) {
        let mut bytes = std::fs::read(&entry).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&entry, bytes).unwrap();
    }
    let (second, cached) = start(folder.path()).await;
    assert!(!cached);
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-5;
    assert!(first.iter().zip(&second).all(near), "{first:?} {second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_written_is_no_reason_not_to_serve() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    let server = Server::ready(with_cache(&file.join("cache"))).await;
    assert!(!server.served().facts().cached);
    server.classify(images::png(1)).await;
}

#[test]
fn compile_fills_a_cache_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").display().to_string();
    let compile = || run(&["compile", "-o", &cache, "--set", "runtime.measure_ms_max=50"]);
    let first = compile();
    assert_eq!(stderr(&first), "");
    assert!(stdout(&first).contains("written to"), "{}", stdout(&first));
    assert_eq!(entries(Path::new(&cache)).len(), 2);
    assert!(stdout(&compile()).contains("already in"));
}
