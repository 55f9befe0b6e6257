//! A repository of models for one test, and requests to it.

use std::fs;
use std::path::{Path, PathBuf};

use repserve::config::Settings;
use repserve::repository::Control;
use serde_json::Value;
use tempfile::TempDir;

use super::images::png;
use super::{Server, checkout, settings};

const FILES: [&str; 3] = ["model.toml", "labels.txt", "model.onnx"];

/// A repository of copies of the default model.
pub struct Models {
    pub root: TempDir,
}

impl Models {
    pub fn new(folders: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let models = Self { root };
        folders.iter().for_each(|folder| models.add(folder));
        models
    }

    pub fn path(&self, folder: &str) -> PathBuf {
        self.root.path().join(folder)
    }

    /// Adds a folder with all files, at once.
    pub fn add(&self, folder: &str) {
        let made = self.root.path().join(".made");
        fs::create_dir_all(&made).unwrap();
        for name in FILES {
            fs::copy(checkout("models/repvgg-cifar10").join(name), made.join(name)).unwrap();
        }
        let path = self.path(folder);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::rename(made, path).unwrap();
    }

    pub fn settings(&self, control: Control) -> Settings {
        let mut settings = settings();
        settings.models.path = self.root.path().to_owned();
        settings.models.control = control;
        settings.models.settle_ms = 20;
        // What is measured changes nothing here.
        settings.runtime.kernels = repserve_runtime::KernelMode::Off;
        settings
    }
}

/// Replaces a part of a text file.
pub fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Name, version and state of every version.
pub async fn index(server: &Server) -> Vec<[String; 3]> {
    let response = server
        .client
        .post(server.url("/v2/repository/index"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let all: Vec<Value> = response.json().await.unwrap();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    all.iter()
        .map(|entry| ["name", "version", "state"].map(|key| text(entry, key)))
        .collect()
}

/// Status and body of the response to an image.
pub async fn classified(server: &Server, query: &str) -> (u16, Value) {
    let response = server.post(&format!("/classify{query}"), png(1)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Asks for a model to be loaded or unloaded.
pub async fn control(server: &Server, model: &str, verb: &str) -> (u16, Value) {
    let url = server.url(&format!("/v2/repository/models/{model}/{verb}"));
    let response = server.client.post(url).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
