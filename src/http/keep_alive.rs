//! Whether a connection goes on after a message: the option `close` of the header `connection` (RFC 9112, section 9.6).

use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, Response};

/// Makes a response the last one of its connection.
pub(super) fn close_after<B>(response: &mut Response<B>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Whether a message announces that the connection ends with it.
pub(super) fn closes(headers: &HeaderMap) -> bool {
    let mut options = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&'static str], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        assert_eq!(closes(&headers), expected, "{values:?}");
    }

    #[test]
    fn close_is_found_among_other_options() {
        check(&[], false);
        check(&["keep-alive"], false);
        check(&["Close"], true);
        check(&["te, close"], true);
        check(&["keep-alive", " close "], true);
        check(&["closed"], false);
    }
}
