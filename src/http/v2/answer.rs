//! An inference answer: outputs as JSON, or as raw bytes behind it. Pure: values in, head and bytes out.

use crate::classify::topk;
use repserve_compile::OutputKind;

use super::request::Wanted;
use super::tensor;
use super::wire;

/// What the model said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    /// The output's name.
    pub(super) output: &'a str,
    /// One row for each image.
    pub(super) rows: &'a [Vec<f32>],
    /// What the rows hold.
    pub(super) kind: OutputKind,
}

/// An answer's output tensors and the raw bytes of those that come as such.
pub(super) fn outputs<'a>(
    said: Said<'a>,
    wanted: &[Wanted],
    label: impl Fn(usize) -> &'a str,
) -> (Vec<wire::Output<'a>>, Vec<u8>) {
    let mut raw = Vec::new();
    let outputs = wanted
        .iter()
        .map(|wanted| match wanted.classification {
            Some(k) => classes(said, k, wanted.binary, &label, &mut raw),
            None => values(said, wanted.binary, &mut raw),
        })
        .collect();
    (outputs, raw)
}

fn values<'a>(said: Said<'a>, binary: bool, raw: &mut Vec<u8>) -> wire::Output<'a> {
    let all = || said.rows.iter().flatten().copied();
    let content = if binary {
        let before = raw.len();
        raw.extend(all().flat_map(f32::to_le_bytes));
        wire::Content::raw(raw.len() - before)
    } else {
        wire::Content::Numbers { data: all().collect() }
    };
    wire::Output {
        name: said.output,
        datatype: "FP32",
        shape: [said.rows.len(), said.rows.first().map_or(0, Vec::len)],
        content,
    }
}

/// `"value:index:label"` for the best classes of each row, as Triton's classification extension writes it.
fn classes<'a>(
    said: Said<'a>,
    k: usize,
    binary: bool,
    label: &impl Fn(usize) -> &'a str,
    raw: &mut Vec<u8>,
) -> wire::Output<'a> {
    let mut strings = Vec::new();
    for row in said.rows {
        for class in topk::classes(row, said.kind, k).unwrap_or_default() {
            strings.push(format!(
                "{:.6}:{}:{}",
                row[class.index],
                class.index,
                label(class.index)
            ));
        }
    }
    let width = strings.len() / said.rows.len().max(1);
    let content = if binary {
        let bytes = tensor::length_prefixed(&strings);
        raw.extend_from_slice(&bytes);
        wire::Content::raw(bytes.len())
    } else {
        wire::Content::Strings { data: strings }
    };
    wire::Output {
        name: said.output,
        datatype: "BYTES",
        shape: [said.rows.len(), width],
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Wanted, json: &str, raw: &[u8]) {
        let rows = [vec![0.5, 2.0, -1.0], vec![3.0, 1.0, 2.0]];
        let said = Said {
            output: "logits",
            rows: &rows,
            kind: OutputKind::Logits,
        };
        let (outputs, bytes) = outputs(said, &[wanted], |i| ["cat", "dog", "emu"][i]);
        assert_eq!(serde_json::to_string(&outputs).unwrap(), json);
        assert_eq!(bytes, raw);
    }

    #[test]
    fn values_as_json() {
        check(
            Wanted::default(),
            r#"[{"name":"logits","datatype":"FP32","shape":[2,3],"data":[0.5,2.0,-1.0,3.0,1.0,2.0]}]"#,
            b"",
        );
    }

    #[test]
    fn values_as_raw_bytes() {
        let wanted = Wanted {
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
        let wanted = Wanted {
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
        let wanted = Wanted {
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
