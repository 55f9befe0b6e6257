//! Prints what is in force and where each value came from.

use std::fmt::Write as _;

use serde_json::json;

use super::layers::Layers;

/// TOML that could be a configuration file, each value with its source as a comment.
pub fn as_toml(layers: &Layers) -> String {
    let mut out = String::new();
    let mut section = "";
    let width = layers
        .entries()
        .map(|(key, entry)| leaf(key).len() + entry.value.to_string().len() + 3)
        .max()
        .unwrap_or(0);
    for (key, entry) in layers.entries() {
        let (head, leaf) = key.rsplit_once('.').unwrap_or(("", key));
        if head != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{head}]");
            section = head;
        }
        let line = format!("{leaf} = {}", entry.value);
        let in_force = entry
            .in_force
            .as_ref()
            .map_or_else(String::new, |value| format!("; in force: {value}"));
        let _ = writeln!(out, "{line:<width$}  # {}{in_force}", entry.source);
    }
    out
}

/// The same as JSON: `{"server.listen": {"value": …, "source": …}, …}`, with `in_force` where the value leaves it open.
pub fn as_json(layers: &Layers) -> serde_json::Value {
    layers
        .entries()
        .map(|(key, entry)| {
            let mut value = json!({ "value": entry.value, "source": entry.source.to_string() });
            if let Some(in_force) = &entry.in_force {
                value["in_force"] = json!(in_force);
            }
            (key.to_owned(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn leaf(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
