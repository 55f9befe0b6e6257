//! The output tensors of a response. Pure: values in, tensors out.

use super::request::{OutputOptions, OutputSource};
use super::tensor;
use crate::classify::topk;
use repserve_compile::{Scores, Signature};
use repserve_runtime::Row;

/// An output tensor.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct OutputTensor<'a> {
    pub(in crate::http) name: &'a str,
    /// As the protocol calls it.
    pub(in crate::http) datatype: &'static str,
    pub(in crate::http) shape: Vec<usize>,
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
    /// What the model's outputs are.
    pub(in crate::http) signature: &'a Signature,
    /// One row for each image.
    pub(in crate::http) rows: &'a [Row],
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
            None => self.values(wanted.source, wanted.raw),
        }
    }

    fn values(self, source: OutputSource, raw: bool) -> OutputTensor<'a> {
        let all = self.rows.iter().flat_map(|row| source.values(row)).copied();
        let elements = if raw {
            Elements::Raw(all.flat_map(f32::to_le_bytes).collect())
        } else {
            Elements::Numbers(all.collect())
        };
        let (name, of_image) = match source {
            OutputSource::Embedding(at) if at < self.signature.embeddings.len() => {
                let embedding = &self.signature.embeddings[at];
                (&embedding.name, embedding.shape.clone())
            }
            _ => {
                let values = self.rows.first().map_or(0, |row| row.values.len());
                (&self.signature.output, vec![values])
            }
        };
        OutputTensor {
            name,
            datatype: "FP32",
            shape: [vec![self.rows.len()], of_image].concat(),
            elements,
        }
    }

    /// `"value:index:label"` for the best classes of each row, as Triton's classification extension writes it.
    fn classes<'l>(self, k: usize, raw: bool, label: impl Fn(usize) -> &'l str) -> OutputTensor<'a> {
        let mut strings = Vec::new();
        for row in self.rows {
            for class in topk::classes(&row.values, self.scores, k).unwrap_or_default() {
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
            name: &self.signature.output,
            datatype: "BYTES",
            shape: vec![self.rows.len(), width],
            elements,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_compile::Embedding;

    #[track_caller]
    fn check(wanted: OutputOptions, name: &str, datatype: &str, shape: &[usize], elements: Elements) {
        let row = |values: [f32; 3], embedding: [f32; 2]| Row {
            values: values.to_vec(),
            further: vec![embedding.to_vec()],
        };
        let rows = [row([0.5, 2.0, -1.0], [7.0, 8.0]), row([3.0, 1.0, 2.0], [9.0, 10.0])];
        let signature = Signature {
            input: "input".to_owned(),
            image: [3, 1, 1],
            output: "logits".to_owned(),
            classes: 3,
            embeddings: vec![Embedding {
                name: "pool".to_owned(),
                shape: vec![2, 1, 1],
            }],
        };
        let model_output = ModelOutput {
            signature: &signature,
            rows: &rows,
            scores: Scores::Logits,
        };
        let tensor = model_output.tensor(wanted, |i| ["cat", "dog", "emu"][i]);
        assert_eq!(
            (tensor.name, tensor.datatype, &tensor.shape[..]),
            (name, datatype, shape)
        );
        assert_eq!(tensor.elements, elements);
    }

    fn options(raw: bool, classification: Option<usize>) -> OutputOptions {
        OutputOptions {
            raw,
            classification,
            ..OutputOptions::default()
        }
    }

    #[test]
    fn values_as_numbers_or_raw() {
        let values = [0.5f32, 2.0, -1.0, 3.0, 1.0, 2.0];
        check(
            options(false, None),
            "logits",
            "FP32",
            &[2, 3],
            Elements::Numbers(values.to_vec()),
        );
        let raw = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        check(options(true, None), "logits", "FP32", &[2, 3], Elements::Raw(raw));
        let embedding = OutputOptions {
            source: OutputSource::Embedding(0),
            ..OutputOptions::default()
        };
        let values = Elements::Numbers(vec![7.0, 8.0, 9.0, 10.0]);
        check(embedding, "pool", "FP32", &[2, 2, 1, 1], values);
    }

    #[test]
    fn classes_as_strings() {
        let texts = ["2.000000:1:dog", "0.500000:0:cat", "3.000000:0:cat", "2.000000:2:emu"];
        let strings = texts.map(str::to_owned).to_vec();
        check(
            options(false, Some(2)),
            "logits",
            "BYTES",
            &[2, 2],
            Elements::Strings(strings),
        );
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
        check(options(true, Some(99)), "logits", "BYTES", &[2, 3], Elements::Raw(raw));
    }
}
