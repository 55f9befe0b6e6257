//! An inference response: outputs as JSON, or as raw bytes behind it. Pure: values in, head and bytes out.

use crate::classify::topk;
use repserve_compile::Scores;

use super::request::OutputOptions;
use super::tensor;
use super::wire;

/// What the model computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelOutput<'a> {
    /// The output's name.
    pub(super) output: &'a str,
    /// One row for each image.
    pub(super) rows: &'a [Vec<f32>],
    /// What the rows hold.
    pub(super) scores: Scores,
}

/// A response's output tensors and the raw bytes of those that come as such.
pub(super) fn outputs<'a>(
    model_output: ModelOutput<'a>,
    wanted: &[OutputOptions],
    label: impl Fn(usize) -> &'a str,
) -> (Vec<wire::Output<'a>>, Vec<u8>) {
    let mut raw = Vec::new();
    let outputs = wanted
        .iter()
        .map(|wanted| match wanted.classification {
            Some(k) => classes(model_output, k, wanted.binary, &label, &mut raw),
            None => values(model_output, wanted.binary, &mut raw),
        })
        .collect();
    (outputs, raw)
}

fn values<'a>(model_output: ModelOutput<'a>, binary: bool, raw: &mut Vec<u8>) -> wire::Output<'a> {
    let all = || model_output.rows.iter().flatten().copied();
    let content = if binary {
        let before = raw.len();
        raw.extend(all().flat_map(f32::to_le_bytes));
        wire::OutputContent::raw(raw.len() - before)
    } else {
        wire::OutputContent::Numbers { data: all().collect() }
    };
    wire::Output {
        name: model_output.output,
        datatype: "FP32",
        shape: [model_output.rows.len(), model_output.rows.first().map_or(0, Vec::len)],
        content,
    }
}

/// `"value:index:label"` for the best classes of each row, as Triton's classification extension writes it.
fn classes<'a>(
    model_output: ModelOutput<'a>,
    k: usize,
    binary: bool,
    label: &impl Fn(usize) -> &'a str,
    raw: &mut Vec<u8>,
) -> wire::Output<'a> {
    let mut strings = Vec::new();
    for row in model_output.rows {
        for class in topk::classes(row, model_output.scores, k).unwrap_or_default() {
            strings.push(format!("{:.6}:{}:{}", class.score, class.index, label(class.index)));
        }
    }
    let width = strings.len() / model_output.rows.len().max(1);
    let content = if binary {
        let bytes = tensor::length_prefixed(&strings);
        raw.extend_from_slice(&bytes);
        wire::OutputContent::raw(bytes.len())
    } else {
        wire::OutputContent::Strings { data: strings }
    };
    wire::Output {
        name: model_output.output,
        datatype: "BYTES",
        shape: [model_output.rows.len(), width],
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: OutputOptions, json: &str, raw: &[u8]) {
        let rows = [vec![0.5, 2.0, -1.0], vec![3.0, 1.0, 2.0]];
        let model_output = ModelOutput {
            output: "logits",
            rows: &rows,
            scores: Scores::Logits,
        };
        let (outputs, bytes) = outputs(model_output, &[wanted], |i| ["cat", "dog", "emu"][i]);
        assert_eq!(serde_json::to_string(&outputs).unwrap(), json);
        assert_eq!(bytes, raw);
    }

    #[test]
    fn values_as_json() {
        check(
            OutputOptions::default(),
            r#"[{"name":"logits","datatype":"FP32","shape":[2,3],"data":[0.5,2.0,-1.0,3.0,1.0,2.0]}]"#,
            b"",
        );
    }

    #[test]
    fn values_as_raw_bytes() {
        let wanted = OutputOptions {
            binary: true,
            classification: None,
        };
        let raw: Vec<u8> = [0.5f32, 2.0, -1.0, 3.0, 1.0, 2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        check(
            wanted,
            r#"[{"name":"logits","datatype":"FP32","shape":[2,3],"parameters":{"binary_data_size":24}}]"#,
            &raw,
        );
    }

    #[test]
    fn classes_as_json() {
        let wanted = OutputOptions {
            binary: false,
            classification: Some(2),
        };
        let data = r#"["2.000000:1:dog","0.500000:0:cat","3.000000:0:cat","2.000000:2:emu"]"#;
        check(
            wanted,
            &format!(r#"[{{"name":"logits","datatype":"BYTES","shape":[2,2],"data":{data}}}]"#),
            b"",
        );
    }

    #[test]
    fn more_classes_than_there_are() {
        let wanted = OutputOptions {
            binary: true,
            classification: Some(99),
        };
        let texts = [
            "2.000000:1:dog",
            "0.500000:0:cat",
            "-1.000000:2:emu",
            "3.000000:0:cat",
            "2.000000:2:emu",
            "1.000000:1:dog",
        ];
        let raw = tensor::length_prefixed(&texts.map(str::to_owned));
        let json = format!(
            r#"[{{"name":"logits","datatype":"BYTES","shape":[2,3],"parameters":{{"binary_data_size":{}}}}}]"#,
            raw.len()
        );
        check(wanted, &json, &raw);
    }
}
