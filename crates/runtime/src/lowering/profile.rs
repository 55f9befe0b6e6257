//! ONNX Runtime's own times, node by node, out of the profile that it writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use serde::Deserialize;

use crate::error::RuntimeError;

/// Least milliseconds of a node, by the name that ONNX Runtime gives it.
pub(super) type Times = HashMap<String, f64>;

/// The part of a profile's event that is read here.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    /// Microseconds.
    #[serde(default)]
    dur: f64,
}

/// Reads a profile's file.
pub(super) fn read(file: &str) -> Result<Times, RuntimeError> {
    let events: Vec<Event> = serde_json::from_reader(BufReader::new(File::open(file)?))
        .map_err(|e| RuntimeError::Run(format!("ONNX Runtime's profile cannot be read: {e}")))?;
    Ok(least(&events))
}

fn least(events: &[Event]) -> Times {
    let mut times = Times::new();
    for event in events.iter().filter(|e| e.cat == "Node") {
        if let Some(name) = event.name.strip_suffix("_kernel_time") {
            let name = name.strip_suffix("_nchwc").unwrap_or(name);
            let time = times.entry(name.to_owned()).or_insert(f64::INFINITY);
            *time = time.min(event.dur / 1e3);
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_least_time_of_every_node() {
        let events = serde_json::json!([
            {"cat": "Session", "name": "model_run", "dur": 9, "args": {"a": [1]}},
            {"cat": "Node", "name": "relu_1_nchwc_kernel_time", "dur": 1500},
            {"cat": "Node", "name": "relu_1_nchwc_kernel_time", "dur": 1400},
            {"cat": "Node", "name": "fc_fence_before", "dur": 1},
            {"cat": "Node", "name": "fc_kernel_time", "dur": 20},
            {"name": "no time"}
        ]);
        let events: Vec<Event> = serde_json::from_value(events).unwrap();
        let times = least(&events);
        assert_eq!(times.len(), 2);
        assert_eq!((times["relu_1"], times["fc"]), (1.4, 0.02));
    }
}
