//! `calibration.json`: what was measured on the calibration images, and what was decided.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::equalize::EXPONENT_MAX;
use super::{Agreement, Error, Range};

/// The version of the file's layout.
const FORMAT: u32 = 1;

/// The content of a `calibration.json`. Which weights follow from it depends on the model's bytes, so it is good for one
/// model only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of the layout.
    pub format: u32,
    /// Which program wrote it.
    pub written_by: String,
    /// What was done, in words.
    pub method: String,
    /// Hash of the model's file (the train-time graph), in hex.
    pub model_sha256: String,
    /// On which images.
    pub images: Images,
    /// How far channels are evened out: 1 wholly, 0.5 half.
    pub equalization_power: f64,
    /// The error's power that the ranges minimise.
    pub range_power: f64,
    /// int8 against fp32 on the held-back images, when calibrating.
    pub held_back: Agreement,
    /// Ranges of the quantized values, in graph order.
    pub ranges: Vec<ValueRange>,
    /// The layers, in graph order.
    pub layers: Vec<LayerRecord>,
    /// What a server compares int8 with fp32 on.
    pub gate: GateImages,
}

/// Which images were used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Images that the ranges, biases and roundings come from.
    pub calibration: usize,
    /// Images kept back for comparing.
    pub held_back: usize,
    /// Hash of the images' own hashes in order of their file names, in hex.
    pub sha256: String,
}

/// A value and its range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueRange {
    /// Name of the value in the deploy graph.
    pub value: String,
    /// Its range.
    #[serde(flatten)]
    pub range: Range,
}

/// In which arithmetic a layer or a graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Fp32,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// As it is written in settings, metrics and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
        }
    }
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecord {
    /// Name of the value that the layer answers with.
    pub layer: String,
    /// In which arithmetic it computes.
    pub precision: Precision,
    /// Signal-to-noise ratio of its output in the int8 graph, dB; errors of the layers before it included.
    pub snr_db: f64,
    /// How much the logits' signal-to-noise ratio rises if this layer alone computes in fp32, dB; if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain_if_fp32_db: Option<f64>,
    /// Powers of two that the output channels are divided by; none where that is not possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equalization: Vec<i8>,
    /// What is added to each output channel's bias.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bias_correction: Vec<f64>,
    /// A bit a weight, set where it is rounded up; packed lowest first, base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rounding: String,
}

/// Images for the comparison at start-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateImages {
    /// Where they come from.
    pub source: String,
    /// Image files of the network's input size, base64.
    pub images: Vec<String>,
}

impl GateImages {
    /// Keeps image files.
    pub fn new(source: String, files: &[Vec<u8>]) -> Self {
        Self {
            source,
            images: files.iter().map(|file| STANDARD.encode(file)).collect(),
        }
    }
}

impl Calibration {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong and where; an unknown key, a missing one, a number that is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::Calibration(e.to_string()))?;
        let format = value.get("format").and_then(Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or_else(|| "no format".to_owned(), |f| format!("format {f}"));
            return Err(Error::Calibration(format!(
                "it has {found}, and this program reads format {FORMAT}"
            )));
        }
        let calibration: Self = serde_json::from_value(value).map_err(|e| Error::Calibration(e.to_string()))?;
        calibration.check()?;
        Ok(calibration)
    }

    /// What a value of the right type must hold besides.
    fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Calibration(what));
        for ValueRange { value, range } in &self.ranges {
            let Range { low, high } = *range;
            if !(low <= 0.0 && high >= 0.0 && low.is_finite() && high.is_finite()) {
                return wrong(format!("the range {low} to {high} of {value:?} does not hold zero"));
            }
        }
        let mut known = HashSet::new();
        for LayerRecord {
            layer,
            equalization,
            bias_correction,
            ..
        } in &self.layers
        {
            if !known.insert(layer) {
                return wrong(format!("the layer {layer:?} is there twice"));
            }
            if equalization.iter().any(|e| e.abs() > EXPONENT_MAX) {
                return wrong(format!("an exponent of {layer:?} is beyond ±{EXPONENT_MAX}"));
            }
            if !bias_correction.iter().all(|c| c.is_finite()) {
                return wrong(format!("a bias correction of {layer:?} is not finite"));
            }
        }
        Ok(())
    }

    /// Checks that the calibration was made for the model file of this hash, in hex.
    ///
    /// # Errors
    /// It was made for another.
    pub fn check_model(&self, sha256: &str) -> Result<(), Error> {
        if self.model_sha256 == sha256 {
            return Ok(());
        }
        Err(Error::OtherModel {
            made_for: self.model_sha256.clone(),
            found: sha256.to_owned(),
        })
    }

    /// Names of the layers that compute in `precision`, in graph order.
    pub fn layers_in(&self, precision: Precision) -> impl Iterator<Item = &str> {
        let those = self.layers.iter().filter(move |layer| layer.precision == precision);
        those.map(|layer| layer.layer.as_str())
    }

    /// The images for the comparison at start-up, as files.
    ///
    /// # Errors
    /// An entry that is not base64.
    pub fn gate_files(&self) -> Result<Vec<Vec<u8>>, Error> {
        let decode = |text: &String| {
            let wrong = |e| Error::Calibration(format!("gate.images holds something that is not base64: {e}"));
            STANDARD.decode(text).map_err(wrong)
        };
        self.gate.images.iter().map(decode).collect()
    }

    /// The file's text: a line a range, lists on one line.
    pub fn to_text(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or(Value::Null);
        let mut text = String::new();
        print(&value, 0, &mut text);
        text.push('\n');
        text
    }

    /// The layout that this program writes.
    pub(super) fn format() -> u32 {
        FORMAT
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Calibration {
        Calibration {
            format: FORMAT,
            written_by: "repserve".into(),
            method: "words".into(),
            model_sha256: "00".into(),
            images: Images {
                calibration: 3,
                held_back: 1,
                sha256: "11".into(),
            },
            equalization_power: 0.5,
            range_power: 2.0,
            held_back: Agreement::default(),
            ranges: vec![ValueRange {
                value: "input".into(),
                range: Range { low: -2.0, high: 2.5 },
            }],
            layers: vec![LayerRecord {
                layer: "relu".into(),
                precision: Precision::Int8,
                snr_db: 33.5,
                gain_if_fp32_db: None,
                equalization: vec![-1, 0, 2],
                bias_correction: vec![0.5, -0.25, 0.1],
                rounding: "AAA=".into(),
            }],
            gate: GateImages {
                source: "held back".into(),
                images: vec!["AAAA".repeat(40)],
            },
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = example().to_text();
        assert_eq!(Calibration::parse(&text).unwrap(), example());
        assert!(
            text.contains("\n    {\"value\":\"input\",\"low\":-2.0,\"high\":2.5}\n"),
            "{text}"
        );
        assert!(text.contains("\n      \"bias_correction\": [0.5,-0.25,0.1"), "{text}");
    }

    #[track_caller]
    fn check(from: &str, to: &str, message: &str) {
        let text = example().to_text();
        assert!(text.contains(from), "{text}");
        let error = Calibration::parse(&text.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn numbers_are_written_as_short_as_they_can_be() {
        let mut shorter = example();
        shorter.ranges[0].range.low = -0.1;
        assert!(shorter.to_text().contains("\"low\":-0.1,"), "{}", shorter.to_text());
    }

    #[test]
    fn a_layer_that_is_there_twice_is_refused() {
        let mut twice = example();
        twice.layers.push(twice.layers[0].clone());
        let error = Calibration::parse(&twice.to_text()).unwrap_err().to_string();
        assert_eq!(error, "calibration.json: the layer \"relu\" is there twice");
    }

    #[test]
    fn a_calibration_belongs_to_one_file() {
        assert!(example().check_model("00").is_ok());
        let error = example().check_model("ab").unwrap_err().to_string();
        assert!(
            error.contains("made for another model (SHA-256 00…, and this one has ab…)"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(
            "\"format\": 1",
            "\"format\": 9",
            "format 9, and this program reads format 1",
        );
        check("\"format\": 1,", "", "it has no format");
        check(
            "\"low\":-2.0",
            "\"low\":2.0",
            "the range 2 to 2.5 of \"input\" does not hold zero",
        );
        check("\"method\"", "\"methods\"", "unknown field `methods`");
        check("\"int8\"", "\"int4\"", "unknown variant `int4`");
        check(
            "\"bias_correction\": [0.5",
            "\"bias_correction\": [1e999",
            "number out of range",
        );
        check("[-1,0,2]", "[-1,0,100]", "an exponent of \"relu\" is beyond ±5");
        check("]", "", "expected");
        check("[-1,0,2]", "[-1,0,2000]", "invalid value");
    }
}
