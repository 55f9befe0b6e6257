//! The output tensors of a response. Pure: values in, tensors out.

use super::request::OutputOptions;
use super::tensor;
use crate::classify::topk;
use repserve_compile::Scores;

/// An output tensor.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct OutputTensor<'a> {
    pub(in crate::http) name: &'a str,
    /// As the protocol calls it.
    pub(in crate::http) datatype: &'static str,
    pub(in crate::http) shape: [usize; 2],
    pub(in crate::http) elements: Elements,
}

/// The elements of an output tensor, in row-major order.
#[derive(Debug, PartialEq)]
pub(in crate::http) enum Elements {
    /// Of FP32.
    Numbers(Vec<f32>),
    /// Of BYTES.
    Strings(Vec<String>),
    /// Of either, as raw bytes; see [`tensor`].
    Raw(Vec<u8>),
}

/// What the model computed.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct ModelOutput<'a> {
    /// The output's name.
    pub(in crate::http) output: &'a str,
    /// One row for each image.
    pub(in crate::http) rows: &'a [Vec<f32>],
    /// What the rows hold.
    pub(in crate::http) scores: Scores,
}

impl<'a> ModelOutput<'a> {
    /// The output as it was requested; `label` is a class's.
    pub(in crate::http) fn tensor<'l>(
        self,
        wanted: OutputOptions,
        label: impl Fn(usize) -> &'l str,
    ) -> OutputTensor<'a> {
        match wanted.classification {
            Some(k) => self.classes(k, wanted.raw, label),
            None => self.values(wanted.raw),
        }
    }

    fn values(self, raw: bool) -> OutputTensor<'a> {
        let all = self.rows.iter().flatten().copied();
        let elements = if raw {
            Elements::Raw(all.flat_map(f32::to_le_bytes).collect())
        } else {
            Elements::Numbers(all.collect())
        };
        OutputTensor {
            name: self.output,
            datatype: "FP32",
            shape: [self.rows.len(), self.rows.first().map_or(0, Vec::len)],
            elements,
        }
    }

    /// `"value:index:label"` for the best classes of each row, as Triton's classification extension writes it.
    fn classes<'l>(self, k: usize, raw: bool, label: impl Fn(usize) -> &'l str) -> OutputTensor<'a> {
        let mut strings = Vec::new();
        for row in self.rows {
            for class in topk::classes(row, self.scores, k).unwrap_or_default() {
                strings.push(format!("{:.6}:{}:{}", class.score, class.index, label(class.index)));
            }
        }
        let width = strings.len() / self.rows.len().max(1);
        let elements = if raw {
            Elements::Raw(tensor::length_prefixed(&strings))
        } else {
            Elements::Strings(strings)
        };
        OutputTensor {
            name: self.output,
            datatype: "BYTES",
            shape: [self.rows.len(), width],
            elements,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: OutputOptions, datatype: &str, shape: [usize; 2], elements: Elements) {
        let rows = [vec![0.5, 2.0, -1.0], vec![3.0, 1.0, 2.0]];
        let model_output = ModelOutput {
            output: "logits",
            rows: &rows,
            scores: Scores::Logits,
        };
        let tensor = model_output.tensor(wanted, |i| ["cat", "dog", "emu"][i]);
        assert_eq!(
            (tensor.name, tensor.datatype, tensor.shape),
            ("logits", datatype, shape)
        );
        assert_eq!(tensor.elements, elements);
    }

    fn options(raw: bool, classification: Option<usize>) -> OutputOptions {
        OutputOptions { raw, classification }
    }

    #[test]
    fn values_as_numbers_or_raw() {
        let values = [0.5f32, 2.0, -1.0, 3.0, 1.0, 2.0];
        check(options(false, None), "FP32", [2, 3], Elements::Numbers(values.to_vec()));
        let raw = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        check(options(true, None), "FP32", [2, 3], Elements::Raw(raw));
    }

    #[test]
    fn classes_as_strings() {
        let texts = ["2.000000:1:dog", "0.500000:0:cat", "3.000000:0:cat", "2.000000:2:emu"];
        let strings = texts.map(str::to_owned).to_vec();
        check(options(false, Some(2)), "BYTES", [2, 2], Elements::Strings(strings));
    }

    #[test]
    fn more_classes_than_there_are() {
        let texts = [
            "2.000000:1:dog",
            "0.500000:0:cat",
            "-1.000000:2:emu",
            "3.000000:0:cat",
            "2.000000:2:emu",
            "1.000000:1:dog",
        ];
        let raw = tensor::length_prefixed(&texts.map(str::to_owned));
        check(options(true, Some(99)), "BYTES", [2, 3], Elements::Raw(raw));
    }
}
