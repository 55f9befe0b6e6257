use proptest::prelude::*;

use super::*;
use repserve_compile::Embedding;
use repserve_scheduler::{Payload, Priority};

const LIMITS: InferLimits = InferLimits {
    images_max: 4,
    image_bytes_max: 8,
};

fn signature() -> Signature {
    Signature {
        input: "input".to_owned(),
        image: [3, 1, 2],
        output: "logits".to_owned(),
        classes: 10,
        embeddings: vec![Embedding {
            name: "pool".to_owned(),
            shape: vec![4, 1, 1],
        }],
    }
}

fn parse(head: &str, raw: &[u8]) -> Result<InferRequest, RequestError> {
    let body = [head.as_bytes(), raw].concat();
    read(Bytes::from(body), Some(head.len()), &signature(), LIMITS)
}

#[track_caller]
fn refused(input: &str, raw: &[u8], message: &str) {
    let head = format!("{{\"inputs\":[{input}]}}");
    assert_eq!(parse(&head, raw).unwrap_err().to_string(), message, "{head}");
}

#[test]
fn a_tensor_in_json_flat_or_nested() {
    for data in ["[1,2,3,4,5,6]", "[[[[1,2]],[[3,4]],[[5,6]]]]"] {
        let head =
            format!(r#"{{"id":"7","inputs":[{{"name":"input","shape":[1,3,1,2],"datatype":"FP32","data":{data}}}]}}"#);
        let request = parse(&head, b"").unwrap();
        assert_eq!(request.id.as_deref(), Some("7"));
        assert_eq!(request.outputs, [OutputOptions::default()]);
        let [Payload::Ready(image)] = &request.work[..] else {
            panic!("{:?}", request.work)
        };
        assert_eq!(image, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}

#[test]
fn a_batch_in_raw_bytes() {
    let raw: Vec<u8> = (0..12u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let head = r#"{"parameters":{"binary_data_output":true,"timeout":2500},
        "inputs":[{"name":"input","shape":[2,3,1,2],"datatype":"FP32","parameters":{"binary_data_size":48}}],
        "outputs":[{"name":"logits","parameters":{"classification":3}}]}"#;
    let request = parse(head, &raw).unwrap();
    assert_eq!(request.work.len(), 2);
    assert_eq!(request.timeout_us, Some(2500));
    let wanted = OutputOptions {
        source: OutputSource::Classes,
        raw: true,
        classification: Some(3),
    };
    assert_eq!(request.outputs, [wanted]);
}

#[test]
fn images_as_bytes_or_base64() {
    let raw = [&[3, 0, 0, 0][..], b"abc", &[1, 0, 0, 0], b"d"].concat();
    let head =
        r#"{"inputs":[{"name":"images","shape":[2,1],"datatype":"BYTES","parameters":{"binary_data_size":12}}]}"#;
    let sent = parse(head, &raw).unwrap();
    let json = r#"{"inputs":[{"name":"images","shape":[2],"datatype":"BYTES","data":["YWJj","ZA=="]}]}"#;
    let written = parse(json, b"").unwrap();
    for request in [sent, written] {
        let [Payload::Raw(a), Payload::Raw(b)] = &request.work[..] else {
            panic!("{:?}", request.work)
        };
        assert_eq!((&a[..], &b[..]), (&b"abc"[..], &b"d"[..]));
    }
}

#[test]
fn what_the_model_does_not_take_is_refused() {
    let fp32 =
        |shape: &str, data: &str| format!(r#"{{"name":"input","shape":{shape},"datatype":"FP32","data":{data}}}"#);
    refused(
        &fp32("[1,3,2,1]", "[1]"),
        b"",
        "the input's shape is [1, 3, 2, 1], the model takes [n, 3, 1, 2]",
    );
    refused(&fp32("[]", "[1]"), b"", "the input has no shape");
    refused(
        &fp32("[1,3,1,2]", "[1,2]"),
        b"",
        "the shape [1, 3, 1, 2] has 6 elements, the data 2",
    );
    refused(&fp32("[0,3,1,2]", "[]"), b"", "the request holds no image");
    refused(
        &fp32("[9000000000000000000,3,1,2]", "[]"),
        b"",
        "9000000000000000000 images in one request, at most 4 are taken",
    );
    refused(
        &fp32("[1,3,1,2]", "[1,2,3,4,5,1e99]"),
        b"",
        "the input holds NaN or infinity",
    );
    refused(
        r#"{"name":"x","shape":[1],"datatype":"BYTES","data":[""]}"#,
        b"",
        "there is no input \"x\"; send FP32 as \"input\", or encoded images (BYTES) as \"images\"",
    );
    refused(
        r#"{"name":"images","shape":[1,3,1,2],"datatype":"FP32","data":[1,2,3,4,5,6]}"#,
        b"",
        "the input \"images\" takes encoded images (BYTES); send FP32 as \"input\"",
    );
    refused(
        r#"{"name":"input","shape":[1],"datatype":"INT64","data":[1]}"#,
        b"",
        "the input's datatype must be FP32 or BYTES",
    );
    refused(
        r#"{"name":"images","shape":[1],"datatype":"BYTES","data":["YWJjZGVmZ2hp"]}"#,
        b"",
        "image 1 has 9 bytes; the limit is 8 bytes",
    );
    refused("", b"", "the model has one input, the request 0");
}

#[test]
fn raw_bytes_must_be_what_is_announced() {
    let input =
        |size: &str| format!(r#"{{"name":"input","shape":[1,3,1,2],"datatype":"FP32","parameters":{{{size}}}}}"#);
    refused(
        &input("\"binary_data_size\":24"),
        &[0; 20],
        "binary_data_size is 24, 20 bytes follow the JSON",
    );
    refused(
        &input(""),
        &[0; 24],
        "24 bytes follow the JSON, and no input has `binary_data_size`",
    );
    let error = read(Bytes::from_static(b"{}"), Some(3), &signature(), LIMITS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "inference-header-content-length is 3, the body has 2 bytes"
    );
}

#[test]
fn an_output_that_is_not_there_is_refused() {
    let head = r#"{"inputs":[],"outputs":[{"name":"y"}]}"#;
    assert_eq!(
        parse(head, b"").unwrap_err().to_string(),
        "there is no output \"y\"; the model's is \"logits\" or \"pool\""
    );
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300), head_len in prop::option::of(0usize..320)) {
        let _ = read(Bytes::from(body), head_len, &signature(), LIMITS);
    }

    #[test]
    fn any_shape_is_read_or_refused(shape in prop::collection::vec(any::<u64>(), 0..6), bytes in any::<bool>()) {
        let (datatype, data) = if bytes { ("BYTES", r#"["YQ=="]"#) } else { ("FP32", "[1,2,3,4,5,6]") };
        let head = format!(
            r#"{{"inputs":[{{"name":"input","shape":{shape:?},"datatype":"{datatype}","data":{data}}}]}}"#
        );
        if let Ok(request) = parse(&head, b"") {
            prop_assert_eq!(request.work.len(), 1);
        }
    }
}

#[test]
fn a_priority_is_read_as_triton_reads_it() {
    let priority = |value: &str| {
        let head = format!(
            r#"{{"parameters":{{"priority":{value}}},"inputs":[{{"name":"input","shape":[1,3,1,2],"datatype":"FP32","data":[1,2,3,4,5,6]}}]}}"#
        );
        parse(&head, b"").map(|request| request.priority)
    };
    for (value, expected) in [
        ("1", 1),
        ("2", 2),
        ("255", 255),
        ("0", 128),
        ("256", 128),
        ("18446744073709551615", 128),
    ] {
        assert_eq!(priority(value).unwrap(), Priority(expected), "{value}");
    }
    assert!(priority("-1").is_err());
    assert!(priority("\"high\"").is_err());
}

#[test]
fn embeddings_are_outputs_of_their_own() {
    let ask = |outputs: &str| {
        let input = r#"{"name":"images","shape":[1],"datatype":"BYTES","data":["YQ=="]}"#;
        parse(&format!(r#"{{"inputs":[{input}],"outputs":[{outputs}]}}"#), b"")
    };
    let sources = |outputs: &str| {
        let request = ask(outputs).unwrap();
        request.outputs.iter().map(|output| output.source).collect::<Vec<_>>()
    };
    let (classes, pool) = (OutputSource::Classes, OutputSource::Embedding(0));
    assert_eq!(sources(r#"{"name":"pool"}"#), [pool]);
    assert_eq!(sources(r#"{"name":"pool"},{"name":"logits"}"#), [pool, classes]);
    for (outputs, expected) in [
        (
            r#"{"name":"x"}"#,
            r#"there is no output "x"; the model's is "logits" or "pool""#,
        ),
        (r#"{"name":"pool"},{"name":"pool"}"#, "the request has an output twice"),
        (
            r#"{"name":"pool","parameters":{"classification":2}}"#,
            "`classification` is for the output of classes only",
        ),
        (
            r#"{"name":"pool"},{"name":"logits"},{"name":"pool"}"#,
            "the model has 2 outputs, the request 3 or more",
        ),
    ] {
        let error = ask(outputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
