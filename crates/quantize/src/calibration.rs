//! `calibration.json`: what was measured on the calibration images, and what was decided.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agreement::Agreement;
use crate::equalize::EXPONENT_MAX;
use crate::error::Error;
use crate::evidence::Evidence;
use crate::range::Range;
use crate::{packed, text};

mod format2;

/// The version of the file's layout.
const FORMAT: u32 = 4;
/// The one before it, in which nothing is finer.
const FORMAT_BEFORE: u32 = 3;

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
    /// How far channels are equalized: 1 wholly, 0.75 by three quarters.
    pub equalization_power: f64,
    /// The error's power that the ranges minimise.
    pub range_power: f64,
    /// int8 against fp32 on images that were not calibrated on.
    pub evidence: Evidence,
    /// Whether residual sums and means of pixels between quantized layers are computed on quantized values too. Files of format 2 were judged
    /// with these in f32, and stay so.
    pub quantized_sums: bool,
    /// Share of the multiplications that are computed in int8, 0 to 1. Not in files of format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8_share: Option<f64>,
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
    /// How many.
    pub count: usize,
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
    /// As it is written in settings, metrics and responses.
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
    /// Name of the value that the layer returns.
    pub layer: String,
    /// In which arithmetic it computes.
    pub precision: Precision,
    /// Signal-to-noise ratio of its output in the int8 graph, dB; errors of the layers before it included.
    pub snr_db: f64,
    /// How much the logits' signal-to-noise ratio rises if this layer and those that read it compute in fp32, dB; if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain_if_fp32_db: Option<f64>,
    /// Quarters of powers of two: the output channels are divided by 2 to the power of a quarter of each. None where that is not
    /// possible. In the file a byte a channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "packed::exponents")]
    pub equalization: Vec<i8>,
    /// What is added to each output channel's bias. In the file 16 bits a channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "packed::numbers")]
    pub bias_correction: Vec<f64>,
    /// Which weights are rounded up; compressed, base64. It takes the weights to decompress it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rounding: String,
    /// What is kept of its output. Not in files before format 4.
    #[serde(default, skip_serializing_if = "Returns::is_uint8")]
    pub returns: Returns,
    /// Output channels whose weights have 16 bits, ascending; numbers with spaces between them. Not in files before format 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "packed::places")]
    pub channels_16_bit: Vec<usize>,
    /// How much rounding its weights moves each output channel, squared; known while calibrating only.
    #[serde(skip)]
    pub(super) noise: Vec<f64>,
}

/// What is kept of a layer's output between layers in int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Returns {
    /// 8 bits.
    #[default]
    Uint8,
    /// 16 bits.
    Uint16,
    /// All: the value is not quantized.
    Fp32,
}

impl Returns {
    /// As it is written in `calibration.json` and the table of layers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Fp32 => "fp32",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_uint8(&self) -> bool {
        *self == Self::Uint8
    }
}

/// Images for the comparison at start-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateImages {
    /// Where they come from.
    pub source: String,
    /// int8 against fp32 on them, when calibrating.
    pub agreement: Agreement,
    /// Image files of the network's input size, base64.
    pub images: Vec<String>,
}

impl GateImages {
    /// Keeps image files.
    pub fn new(source: String, files: &[Vec<u8>]) -> Self {
        Self {
            source,
            agreement: Agreement::default(),
            images: files.iter().map(|file| STANDARD.encode(file)).collect(),
        }
    }
}

impl Calibration {
    /// Reads a file's text, of this format or of the two before.
    ///
    /// # Errors
    /// What is wrong and where; an unknown key, a missing one, a number that is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut value: Value = serde_json::from_str(text).map_err(|e| Error::Calibration(e.to_string()))?;
        let format = value.get("format").and_then(Value::as_u64);
        if format == Some(format2::FORMAT) {
            format2::upgrade(&mut value).map_err(Error::Calibration)?;
        } else if format == Some(u64::from(FORMAT_BEFORE)) {
            value["format"] = FORMAT.into();
        } else if format != Some(u64::from(FORMAT)) {
            let found = format.map_or_else(|| "no format".to_owned(), |f| format!("format {f}"));
            return Err(Error::Calibration(format!(
                "it has {found}, and this program reads formats {}, {FORMAT_BEFORE} and {FORMAT}; run `repserve calibrate` again",
                format2::FORMAT
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
            layer, equalization, ..
        } in &self.layers
        {
            if !known.insert(layer) {
                return wrong(format!("the layer {layer:?} is there twice"));
            }
            if equalization.iter().any(|e| e.abs() > EXPONENT_MAX) {
                return wrong(format!("an exponent of {layer:?} is beyond ±{EXPONENT_MAX} quarters"));
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
        text::lines(&serde_json::to_value(self).unwrap_or(Value::Null))
    }

    /// The layout that this program writes.
    pub(super) fn format() -> u32 {
        FORMAT
    }
}

#[cfg(test)]
pub(crate) mod tests;
