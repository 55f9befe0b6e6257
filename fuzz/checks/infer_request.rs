//! Any bytes as an inference request of the Open Inference Protocol: images within the limits, or an error that is short whatever
//! was sent. Never more memory than twice the body and an image.

use bytes::Bytes;
use repserve::http::LimitSettings;
use repserve::http::parsers::infer_request;
use repserve_compile::Signature;

/// Bytes of a tensor of the model: 3 x 1 x 2 values.
const IMAGE_BYTES: usize = 24;
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

/// Checks one input: as JSON alone, and as JSON with its last bytes, one tensor's, raw behind it.
pub fn check(data: &[u8]) {
    let limits = LimitSettings {
        request_images_max: 4,
        image_bytes_max: 1000,
        ..LimitSettings::default()
    };
    let body = Bytes::copy_from_slice(data);
    for head_len in [None, data.len().checked_sub(IMAGE_BYTES)] {
        match infer_request(body.clone(), head_len, &signature(), &limits) {
            Ok(images) => {
                assert!((1..=limits.request_images_max).contains(&images.count));
                assert!(images.bytes <= 2 * data.len() + IMAGE_BYTES, "{} bytes", images.bytes);
            }
            Err(error) => assert!(error.chars().count() <= ERROR_CHARS_MAX, "{error}"),
        }
    }
}
