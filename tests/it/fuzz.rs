//! What the fuzz targets check, on damaged copies of real files: the same damage in every run.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use prost::Message;

use crate::pictures;
use crate::support::checkout;
use crate::support::http2::{InferInput, InferRequest, images};
use crate::support::images::png;

#[path = "../../fuzz/checks/baggage.rs"]
mod baggage;
#[path = "../../fuzz/checks/calibration.rs"]
mod calibration;
#[path = "../../fuzz/checks/form.rs"]
mod form;
#[path = "../../fuzz/checks/grpc_request.rs"]
mod grpc_request;
#[path = "../../fuzz/checks/image_decode.rs"]
mod image_decode;
#[path = "../../fuzz/checks/infer_request.rs"]
mod infer_request;
#[path = "../../fuzz/checks/onnx_convert.rs"]
mod onnx_convert;

/// Bytes at the beginning in which damage is most likely to hit structure.
const HEAD_BYTES: usize = 8 << 10;

/// One kind of damage.
#[derive(Debug, Clone)]
enum Damage {
    Write(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Damage {
    fn apply(&self, file: &mut Vec<u8>, within: usize) {
        let within = within.min(file.len()).max(1);
        let span = |at: &Index, len: usize| at.index(within)..(at.index(within) + len).min(file.len());
        match self {
            Self::Write(at, byte) => file[at.index(within)] = *byte,
            Self::Cut(at) => file.truncate(at.index(within).max(1)),
            Self::Remove(at, len) => drop(file.drain(span(at, *len))),
            Self::Repeat(at, len) => {
                let again = file[span(at, *len)].to_vec();
                let at = at.index(within);
                file.splice(at..at, again);
            }
        }
        if file.is_empty() {
            file.push(0);
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Write(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), 1usize..64).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (any::<Index>(), 1usize..64).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

/// Runs `check` on `cases` damaged copies of `file`, three quarters of them damaged within the first `head` bytes.
fn check(file: &[u8], head: usize, cases: u32, check: fn(&[u8])) {
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let places = (prop::collection::vec(damage(), 1..4), 0u8..4);
    let outcome = TestRunner::new(config).run(&places, |(damages, place)| {
        let mut copy = file.to_vec();
        let within = if place == 0 { copy.len() } else { head };
        damages.iter().for_each(|d| d.apply(&mut copy, within));
        check(&copy);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn damaged_models() {
    for dialect in ["model.onnx", "model.dynamo.onnx"] {
        let file = std::fs::read(checkout("models/repvgg-cifar10").join(dialect)).unwrap();
        check(&file, HEAD_BYTES, 150, onnx_convert::check);
    }
}

#[test]
fn damaged_calibrations() {
    let file = std::fs::read(checkout("models/repvgg-cifar10/calibration.json")).unwrap();
    check(&file, HEAD_BYTES, 60, calibration::check);
    calibration::check(&file);
}

#[test]
fn damaged_images() {
    let file = png(3);
    check(&file, file.len(), 500, image_decode::check);
    for (_, file) in pictures::files() {
        check(&file, file.len(), 10, image_decode::check);
    }
}

/// Requests of each kind that is read: numbers flat and nested, strings, raw tensors, raw strings.
#[test]
fn damaged_inference_requests() {
    let requests: [(&str, &[u8]); 5] = [
        (
            r#"{"id":"7","inputs":[{"name":"input","shape":[1,3,1,2],"datatype":"FP32","data":[1,2.5,-3e2,4,5,6]}]}"#,
            b"",
        ),
        (
            r#"{"inputs":[{"data":[[[[1,2]],[[3,4]],[[5,6]]]],"datatype":"FP32","shape":[1,3,1,2],"name":"input"}]}"#,
            b"",
        ),
        (
            r#"{"inputs":[{"name":"images","shape":[2],"datatype":"BYTES","data":["YWJj","Z\u0041=="]}],
                "outputs":[{"name":"logits","parameters":{"classification":3}}]}"#,
            b"",
        ),
        (
            r#"{"parameters":{"binary_data_output":true,"timeout":2500},"inputs":[{"name":"input","shape":[1,3,1,2],
                "datatype":"FP32","parameters":{"binary_data_size":24}}]}"#,
            &[0; 24],
        ),
        (
            r#"{"inputs":[{"name":"images","shape":[2,1],"datatype":"BYTES","parameters":{"binary_data_size":24}}]}"#,
            b"\x03\0\0\0abc\x0d\0\0\0defghijklmnop",
        ),
    ];
    for (head, raw) in requests {
        let body = [head.as_bytes(), raw].concat();
        infer_request::check(&body);
        check(&body, body.len(), 500, infer_request::check);
    }
}

#[test]
fn damaged_grpc_requests() {
    let tensor = InferRequest {
        inputs: vec![InferInput {
            name: "input".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 3, 1, 2],
        }],
        raw_input_contents: vec![vec![0; 24]],
        ..images(&[])
    };
    for request in [images(&[b"abc".to_vec(), b"d".to_vec()]), tensor] {
        let message = request.encode_to_vec();
        grpc_request::check(&message);
        check(&message, message.len(), 500, grpc_request::check);
    }
}

#[test]
fn damaged_forms() {
    let part = |name: &str, image: Vec<u8>| {
        let head = format!("--B\r\ncontent-disposition: form-data; name=\"i\"; filename=\"{name}\"\r\n\r\n");
        [head.into_bytes(), image, b"\r\n".to_vec()].concat()
    };
    let body = [
        part("a.png", png(1)),
        part("b\\\".png", vec![b'-'; 100]),
        b"--B--\r\n".to_vec(),
    ]
    .concat();
    check(&body, body.len(), 500, form::check);
}

#[test]
fn damaged_baggage() {
    let header = b"tenant=a%20b;p=1, user=%C3%A9==,, x = y ;;";
    check(header, header.len(), 500, baggage::check);
}
