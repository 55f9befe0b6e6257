//! Any bytes as an inference request over gRPC, without its frame: images within the limits, or an error that is short whatever was sent.

use bytes::Bytes;
use repserve::http::LimitSettings;
use repserve::http::parsers::grpc_request;
use repserve_compile::Signature;

/// Characters of an error at most.
const ERROR_CHARS_MAX: usize = 1000;

fn signature() -> Signature {
    Signature {
        input: "input".to_owned(),
        image: [3, 1, 2],
        output: "logits".to_owned(),
        classes: 10,
        embeddings: Vec::new(),
    }
}

/// Checks one input.
pub fn check(data: &[u8]) {
    let limits = LimitSettings {
        request_images_max: 4,
        image_bytes_max: 1000,
        ..LimitSettings::default()
    };
    match grpc_request(Bytes::copy_from_slice(data), &signature(), &limits) {
        Ok(images) => {
            assert!((1..=limits.request_images_max).contains(&images.count));
            assert!(images.bytes <= data.len(), "{} bytes", images.bytes);
        }
        Err(error) => assert!(error.chars().count() <= ERROR_CHARS_MAX, "{error}"),
    }
}
