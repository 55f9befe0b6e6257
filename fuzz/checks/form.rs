//! Any bytes as a form: images within the limits, no more bytes than were sent, or an error that is short whatever was sent.

use bytes::Bytes;
use repserve::http::LimitSettings;
use repserve::http::parsers::form;

/// Characters of an error at most.
const ERROR_CHARS_MAX: usize = 1000;

/// Checks one input, whose parts are separated by `--B`.
pub fn check(data: &[u8]) {
    let limits = LimitSettings {
        request_images_max: 4,
        image_bytes_max: 1000,
        ..LimitSettings::default()
    };
    match form(Bytes::copy_from_slice(data), "B", &limits) {
        Ok(images) => {
            assert!((1..=limits.request_images_max).contains(&images.count));
            assert!(images.bytes <= data.len());
        }
        Err(error) => assert!(error.chars().count() <= ERROR_CHARS_MAX, "{error}"),
    }
}
