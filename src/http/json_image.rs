//! An image as text in a JSON object: `{"image": "<base64 or data URL>"}`. Pure: bytes in, an image out.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::echo::echo;
use super::error::{Code, Problem};
use super::settings::LimitSettings;
use crate::classify::Item;

/// Bytes of the object beside the image.
const AROUND_BYTES_MAX: usize = 1 << 10;

/// Base64 with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageAsText<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
}

/// Bytes of such an object at most.
pub(super) fn bytes_max(limits: &LimitSettings) -> usize {
    let encoded = limits.image_bytes_max.saturating_add(2) / 3;
    encoded
        .saturating_mul(4)
        .saturating_add(AROUND_BYTES_MAX)
        .min(limits.request_bytes_max)
}

/// Reads the object.
pub(super) fn read(body: &[u8], limits: &LimitSettings) -> Result<Item, Problem> {
    let malformed = |detail: String| Problem::new(Code::Malformed, detail);
    let ImageAsText { image } = serde_json::from_slice(body).map_err(|error| {
        malformed(format!(
            "the body is no JSON object with the image as base64 in the member `image`: {}",
            echo(&error.to_string())
        ))
    })?;
    if ["http://", "https://"].iter().any(|scheme| image.starts_with(scheme)) {
        return Err(malformed(
            "`image` is the address of an image; send the image itself, as base64 or a data URL".to_owned(),
        ));
    }
    let text = base64_of(&image).ok_or_else(|| malformed("`image` is a data URL without base64".to_owned()))?;
    let bytes = BASE64
        .decode(text)
        .map_err(|error| malformed(format!("`image` is neither base64 nor a data URL: {error}")))?;
    if bytes.is_empty() {
        return Err(Problem::new(Code::NoImage, "`image` is empty"));
    }
    if bytes.len() > limits.image_bytes_max {
        let detail = format!(
            "the image has {} bytes, at most {} are read",
            bytes.len(),
            limits.image_bytes_max
        );
        return Err(Problem::new(Code::TooLarge, detail));
    }
    Ok(Item {
        name: None,
        bytes: bytes.into(),
    })
}

/// The base64 of a text that is base64 or a data URL (RFC 2397).
fn base64_of(text: &str) -> Option<&str> {
    let Some(url) = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")) else {
        return Some(text);
    };
    let (head, data) = text[url.len()..].split_once(',')?;
    head.ends_with(";base64").then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<&[u8], (&str, &str)>) {
        let limits = LimitSettings {
            image_bytes_max: 4,
            ..LimitSettings::default()
        };
        match (read(json.as_bytes(), &limits), expected) {
            (Ok(item), Ok(bytes)) => assert_eq!(&item.bytes[..], bytes),
            (Err(problem), Err((code, detail))) => {
                assert_eq!(problem.code().name(), code);
                assert!(problem.detail().contains(detail), "{}", problem.detail());
            }
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn an_image_is_base64_or_a_data_url() {
        check(r#"{"image": "YWJj"}"#, Ok(b"abc"));
        check(r#"{"image": "YQ=="}"#, Ok(b"a"));
        check(r#"{"image": "YQ"}"#, Ok(b"a"));
        check(r#"{"image": "\/\/8="}"#, Ok(b"\xff\xff"));
        check(r#"{"image": "data:image/png;base64,YWJj"}"#, Ok(b"abc"));
        check(r#"{"image": "DATA:;base64,YWJj"}"#, Ok(b"abc"));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        check("{}", Err(("malformed", "missing field `image`")));
        check(r#"{"image": 1}"#, Err(("malformed", "invalid type")));
        check(
            r#"{"image": "YQ==", "size": 1}"#,
            Err(("malformed", "unknown field `size`")),
        );
        check("[]", Err(("malformed", "no JSON object")));
        check(
            r#"{"image": "https://pictures.example/cat.jpg"}"#,
            Err(("malformed", "send the image itself")),
        );
        check(r#"{"image": "%"}"#, Err(("malformed", "neither base64 nor a data URL")));
        check(
            r#"{"image": "data:image/png,abc"}"#,
            Err(("malformed", "without base64")),
        );
        check(r#"{"image": ""}"#, Err(("no_image", "`image` is empty")));
        check(
            r#"{"image": "YWJjZGU="}"#,
            Err(("too_large", "the image has 5 bytes, at most 4")),
        );
        let long = format!("{{\"{}\": 1}}", "x".repeat(100_000));
        check(&long, Err(("malformed", "unknown field")));
    }
}
