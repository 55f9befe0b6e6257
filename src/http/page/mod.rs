//! The pages for people: `/` (try the model, watch it work) and `/docs` (the API, to read and to try). Each is one response that holds its script and
//! style, and its policy lets the browser run these and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use repserve_preprocess::Format;
use sha2::{Digest, Sha256};

use super::response_budget::StaticBody;
use super::{LimitSettings, ServerSettings, Shared};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const COLOURS: &str = include_str!("../../style/colours.css");
const BASE: &str = include_str!("base.css");

/// The drawings that the page offers: name and bytes of each.
const EXAMPLES: [(&str, &[u8]); 3] = [
    (
        "/examples/ship.jpg",
        include_bytes!("../../../models/repvgg-cifar10/examples/ship.jpg"),
    ),
    (
        "/examples/airplane.jpg",
        include_bytes!("../../../models/repvgg-cifar10/examples/airplane.jpg"),
    ),
    (
        "/examples/truck.jpg",
        include_bytes!("../../../models/repvgg-cifar10/examples/truck.jpg"),
    ),
];

/// The pages, and the drawings that they show.
pub(super) fn routes(limits: &LimitSettings, server: &ServerSettings) -> Router<Shared> {
    let mut routes = Router::new()
        .route("/", page(index(limits, server)))
        .route("/docs", page(docs()));
    for (path, bytes) in EXAMPLES {
        routes = routes.route(path, get(move || async move { example(bytes) }));
    }
    routes
}

/// `/`
fn index(limits: &LimitSettings, server: &ServerSettings) -> Page {
    let html = include_str!("index.html")
        .replace("{image_bytes_max}", &limits.image_bytes_max.to_string())
        .replace("{top_k}", &server.top_k.to_string())
        .replace("{formats}", Format::LIST);
    let scripts = [
        include_str!("base.js"),
        include_str!("picture.js"),
        include_str!("results.js"),
        include_str!("camera.js"),
        include_str!("model.js"),
        include_str!("live.js"),
    ];
    Page::new(&html, &[COLOURS, BASE, include_str!("index.css")], &scripts)
}

/// `/docs`
fn docs() -> Page {
    let scripts = [include_str!("base.js"), include_str!("docs.js")];
    Page::new(
        include_str!("docs.html"),
        &[COLOURS, BASE, include_str!("docs.css")],
        &scripts,
    )
}

fn page(page: Page) -> axum::routing::MethodRouter<Shared> {
    let page = Arc::new(page);
    get(move |headers: HeaderMap| async move { page.respond(&headers) })
}

fn example(bytes: &'static [u8]) -> Response {
    let headers = [(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "max-age=3600")];
    let mut response = (headers, bytes).into_response();
    response.extensions_mut().insert(StaticBody);
    response
}

/// A page with what goes along with it.
struct Page {
    html: Bytes,
    policy: HeaderValue,
    etag: HeaderValue,
}

impl Page {
    /// A page of which `html` has an empty style and an empty script.
    fn new(html: &str, styles: &[&str], scripts: &[&str]) -> Self {
        let [style, script] = [styles, scripts].map(|parts| format!("\n{}", parts.join("\n")));
        let html = html
            .replacen("<style></style>", &format!("<style>{style}</style>"), 1)
            .replacen("<script></script>", &format!("<script>{script}</script>"), 1);
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' blob: data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(&script),
            digest(&style),
        );
        let fixed =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self {
            policy: fixed(policy),
            etag: fixed(format!("\"{}\"", digest(&html))),
            html: html.into(),
        }
    }

    fn respond(&self, request: &HeaderMap) -> Response {
        let fresh = request.get(header::IF_NONE_MATCH) == Some(&self.etag);
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.html.clone().into_response()
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

fn digest(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &Page) {
        let html = std::str::from_utf8(&page.html).unwrap();
        assert_eq!(
            (html.matches("<script").count(), html.matches("</script").count()),
            (1, 1)
        );
        assert_eq!(
            (html.matches("<style").count(), html.matches("</style").count()),
            (1, 1)
        );
        assert!(!html.contains("<script></script>") && !html.contains("<style></style>"));
        assert!(!html.contains("{image_bytes_max}") && !html.contains("{formats}"));
        let but_for = |outside: &str, allowed: &str| html.matches(outside).count() == html.matches(allowed).count();
        assert!(but_for("http://", "http://www.w3.org/2000/svg"));
        assert!(but_for(" src=\"", " src=\"/examples/"));
        for outside in ["https://", " style=\"", " onclick", "innerHTML", "eval("] {
            assert!(!html.contains(outside), "{outside}");
        }
        let policy = page.policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"));
    }

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        check(&index(&LimitSettings::default(), &ServerSettings::default()));
        check(&docs());
    }

    #[test]
    fn the_page_knows_the_limits() {
        let limits = LimitSettings {
            image_bytes_max: 12_345,
            ..LimitSettings::default()
        };
        let page = index(&limits, &ServerSettings::default());
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(html.contains("data-image-bytes-max=\"12345\"") && html.contains(Format::LIST));
    }

    #[test]
    fn every_drawing_that_the_page_shows_is_there() {
        let page = index(&LimitSettings::default(), &ServerSettings::default());
        let html = std::str::from_utf8(&page.html).unwrap();
        for (path, bytes) in EXAMPLES {
            assert!(html.contains(&format!("src=\"{path}\"")), "{path}");
            assert_eq!(Format::sniff(bytes), Ok(Format::Jpeg));
        }
    }
}
