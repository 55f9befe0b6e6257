//! The pages for people: `/` (try the model, watch it work) and `/docs` (the API). Each is one file within the binary, and
//! its policy lets the browser run that file's script and style and nothing else.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::response_budget::StaticBody;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

static INDEX: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("index.html")));
static DOCS: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("docs.html")));

/// A page with what goes along with it.
struct Page {
    html: &'static str,
    policy: HeaderValue,
    etag: HeaderValue,
}

impl Page {
    fn new(html: &'static str) -> Self {
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src blob: data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(between(html, "<script>", "</script>")),
            digest(between(html, "<style>", "</style>")),
        );
        let fixed =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self {
            html,
            policy: fixed(policy),
            etag: fixed(format!("\"{}\"", digest(html))),
        }
    }

    fn respond(&self, request: &HeaderMap) -> Response {
        let fresh = request.get(header::IF_NONE_MATCH) == Some(&self.etag);
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.html.into_response()
        };
        response.extensions_mut().insert(StaticBody);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(
            PERMISSIONS_POLICY,
            HeaderValue::from_static("camera=(self), microphone=(), geolocation=()"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ETAG, self.etag.clone());
        response
    }
}

/// `GET /`
pub(super) async fn index(headers: HeaderMap) -> Response {
    INDEX.respond(&headers)
}

/// `GET /docs`
pub(super) async fn docs(headers: HeaderMap) -> Response {
    DOCS.respond(&headers)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or("", |(inner, _)| inner)
}

fn digest(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &Page) {
        let html = page.html;
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("<style").count(), 1);
        for outside in ["http://", "https://", " src=\"", " style=\"", " onclick"] {
            let allowed = outside == "http://"
                && html.matches("http://www.w3.org/2000/svg").count() == html.matches(outside).count();
            assert!(allowed || !html.contains(outside), "{outside}");
        }
        let policy = page.policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"));
    }

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        check(&INDEX);
        check(&DOCS);
    }
}
