//! An inference response: outputs as JSON, or as raw bytes behind it. Pure: tensors in, head and bytes out.

use super::wire;
use crate::http::inference::{Elements, OutputTensor};

/// A response's outputs as JSON, and the raw bytes of those that come as such.
pub(super) fn outputs(tensors: Vec<OutputTensor<'_>>) -> (Vec<wire::Output<'_>>, Vec<u8>) {
    let mut raw = Vec::new();
    let outputs = tensors.into_iter().map(|tensor| {
        let content = match tensor.elements {
            Elements::Numbers(data) => wire::OutputContent::Numbers { data },
            Elements::Strings(data) => wire::OutputContent::Strings { data },
            Elements::Raw(bytes) => {
                raw.extend_from_slice(&bytes);
                wire::OutputContent::raw(bytes.len())
            }
        };
        wire::Output {
            name: tensor.name,
            datatype: tensor.datatype,
            shape: tensor.shape,
            content,
        }
    });
    (outputs.collect(), raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(elements: Elements, json: &str, raw: &[u8]) {
        let tensor = OutputTensor {
            name: "logits",
            datatype: "FP32",
            shape: vec![1, 2],
            elements,
        };
        let (outputs, bytes) = outputs(vec![tensor]);
        let head = r#"{"name":"logits","datatype":"FP32","shape":[1,2],"#;
        assert_eq!(serde_json::to_string(&outputs).unwrap(), format!("[{head}{json}}}]"));
        assert_eq!(bytes, raw);
    }

    #[test]
    fn elements_stand_in_the_json_or_behind_it() {
        check(Elements::Numbers(vec![0.5, 2.0]), r#""data":[0.5,2.0]"#, b"");
        let strings = vec!["2.000000:1:dog".to_owned()];
        check(Elements::Strings(strings), r#""data":["2.000000:1:dog"]"#, b"");
        check(
            Elements::Raw(vec![1, 2, 3]),
            r#""parameters":{"binary_data_size":3}"#,
            &[1, 2, 3],
        );
    }
}
