//! One image's classes as a line of a table, of JSON or of CSV.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::Fault;
use crate::classify::{Prediction, Served};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// What is to be written of one image.
pub(super) struct Line<'a> {
    pub(super) file: &'a Path,
    pub(super) served: &'a Served,
    pub(super) result: Result<&'a Prediction, &'a Fault>,
}

impl Format {
    /// What stands before the first line.
    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Csv => "file,rank,index,label,probability,error\n",
            Self::Table | Self::Json => "",
        }
    }

    /// The text of one image; `width` is that of the widest file name, in characters.
    pub(super) fn line(self, line: &Line<'_>, width: usize) -> String {
        match self {
            Self::Table => table(line, width),
            Self::Json => json_line(line),
            Self::Csv => csv(line),
        }
    }
}

fn table(line: &Line<'_>, width: usize) -> String {
    let mut out = format!("{:<width$}", line.file.display().to_string());
    match line.result {
        Ok(prediction) => {
            for class in &prediction.classes {
                let label = line.served.label(class.index);
                let _ = write!(out, "  {label} {:.1} %", f64::from(class.probability) * 100.0);
            }
        }
        Err(fault) => {
            let _ = write!(out, "  error: {}", fault.code);
        }
    }
    out.push('\n');
    out
}

fn json_line(line: &Line<'_>) -> String {
    let classes = |prediction: &Prediction| {
        let class = |c: &crate::classify::Class| JsonClass {
            index: c.index,
            label: line.served.label(c.index).to_owned(),
            probability: c.probability,
        };
        prediction.classes.iter().map(class).collect()
    };
    let json = JsonLine {
        file: &line.file.to_string_lossy(),
        classes: line.result.ok().map(classes),
        error: line.result.err(),
    };
    format!("{}\n", serde_json::to_string(&json).unwrap_or_default())
}

#[derive(Serialize)]
struct JsonLine<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<JsonClass>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Fault>,
}

#[derive(Serialize)]
struct JsonClass {
    index: usize,
    label: String,
    probability: f32,
}

fn csv(line: &Line<'_>) -> String {
    let file = field(&line.file.to_string_lossy());
    let mut out = String::new();
    match line.result {
        Ok(prediction) => {
            for (rank, class) in prediction.classes.iter().enumerate() {
                let label = field(line.served.label(class.index));
                let _ = writeln!(
                    out,
                    "{file},{},{},{label},{},",
                    rank + 1,
                    class.index,
                    class.probability
                );
            }
        }
        Err(fault) => {
            let _ = writeln!(out, "{file},,,,,{}", field(fault.code));
        }
    }
    out
}

/// RFC 4180: quoted where it has to be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must() {
        let check = |text: &str, expected: &str| assert_eq!(field(text), expected);
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
    }
}
