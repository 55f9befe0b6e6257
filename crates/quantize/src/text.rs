//! JSON for people: a line an entry, flat lists on one line, so that two files can be compared.

use serde_json::Value;

/// The text of `value`, with a newline at its end.
pub(super) fn lines(value: &Value) -> String {
    let mut text = String::new();
    print(value, 0, &mut text);
    text.push('\n');
    text
}

/// Objects and lists of objects or long texts are spread over lines, one entry each; everything flat stays on its line.
fn print(value: &Value, depth: usize, text: &mut String) {
    let flat = |v: &Value| !v.is_object() && !v.is_array() && v.as_str().is_none_or(|s| s.len() < 80);
    let (open, close, entries): (char, char, Vec<(Option<&String>, &Value)>) = match value {
        Value::Object(map) if depth == 0 || !map.values().all(flat) => {
            ('{', '}', map.iter().map(|(k, v)| (Some(k), v)).collect())
        }
        Value::Array(list) if !list.iter().all(flat) => ('[', ']', list.iter().map(|v| (None, v)).collect()),
        other => return text.push_str(&other.to_string()),
    };
    text.push(open);
    for (i, (key, entry)) in entries.into_iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.extend(std::iter::repeat_n("  ", depth + 1));
        if let Some(key) = key {
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push_str(": ");
        }
        print(entry, depth + 1, text);
    }
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
    text.push(close);
}
