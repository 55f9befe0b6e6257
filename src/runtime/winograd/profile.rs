//! ONNX Runtime's own times, node by node, out of the profile that it writes.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::operators::Layers;
use crate::runtime::session::{SessionOptions, builder};
use crate::runtime::{ModelSession, Runtime, RuntimeError};

/// Milliseconds a node, by the name that ONNX Runtime gives it.
pub(super) type Times = HashMap<String, f64>;

/// Runs `model` on one thread for about `budget` (and at least `runs_min` times) and reads the least time of every node.
pub(super) fn measure(
    runtime: &Runtime,
    model: &[u8],
    layers: &Layers,
    image: &Image,
    budget: Duration,
) -> Result<Times, RuntimeError> {
    let folder = tempfile::tempdir()?;
    let options = SessionOptions {
        threads: 1,
        layers: layers.clone(),
        ..SessionOptions::default()
    };
    let failed = |e: &dyn std::fmt::Display| RuntimeError::Model(e.to_string());
    let built = builder(runtime, &options)?
        .with_profiling(folder.path().join("profile"))
        .map_err(|e| failed(&e))?;
    let mut built = built;
    let session = built.commit_from_memory(model).map_err(|e| failed(&e))?;
    let mut session = ModelSession::of(session, &options)?;
    let start = Instant::now();
    let mut runs = 0;
    while runs < RUNS_MIN || start.elapsed() < budget && runs < RUNS_MAX {
        session.run(&[&image.pixels], image.shape)?;
        runs += 1;
    }
    let file = session.end_profiling()?;
    read(Path::new(&file))
}

const RUNS_MIN: usize = 3;
const RUNS_MAX: usize = 50;

/// What is run.
pub(super) struct Image {
    pub(super) pixels: Vec<f32>,
    /// Channels, height, width.
    pub(super) shape: [usize; 3],
}

fn read(file: &Path) -> Result<Times, RuntimeError> {
    let events: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(file)?)
        .map_err(|e| RuntimeError::Run(format!("ONNX Runtime's profile cannot be read: {e}")))?;
    Ok(least(&events))
}

fn least(events: &[serde_json::Value]) -> Times {
    let mut times = Times::new();
    for event in events.iter().filter(|e| e["cat"] == "Node") {
        let name = event["name"].as_str().and_then(|n| n.strip_suffix("_kernel_time"));
        if let (Some(name), Some(us)) = (name, event["dur"].as_f64()) {
            let name = name.strip_suffix("_nchwc").unwrap_or(name).to_owned();
            let time = times.entry(name).or_insert(f64::INFINITY);
            *time = time.min(us / 1e3);
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn reads_the_least_time_of_every_node() {
        let events = serde_json::json!([
            {"cat": "Session", "name": "model_run", "dur": 9},
            {"cat": "Node", "name": "relu_1_nchwc_kernel_time", "dur": 1500},
            {"cat": "Node", "name": "relu_1_nchwc_kernel_time", "dur": 1400},
            {"cat": "Node", "name": "fc_fence_before", "dur": 1},
            {"cat": "Node", "name": "fc_kernel_time", "dur": 20}
        ]);
        let times = least(events.as_array().unwrap());
        assert_eq!(times.len(), 2);
        assert_eq!((times["relu_1"], times["fc"]), (1.4, 0.02));
    }
}
