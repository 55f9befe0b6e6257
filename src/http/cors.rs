//! Web pages of other origins, as far as the settings let them use the server (CORS).

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::settings::ServerSettings;

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Headers of requests, besides those that a page may always send.
const REQUEST: [HeaderName; 6] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-request-id"),
];

/// Headers of responses, besides those that a page may always read.
const RESPONSE: [HeaderName; 7] = [
    RETRY_AFTER,
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("x-decode-time"),
    HeaderName::from_static("x-inference-time"),
    HeaderName::from_static("x-queue-time"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-total-time"),
];

/// Lets the pages of the origins that are set use these routes. Errors say so too: a page could not read them otherwise.
pub(super) fn allow(routes: Router, settings: &ServerSettings) -> Router {
    let origins = match &settings.cors_origins[..] {
        [] => return routes,
        [all] if all == "*" => AllowOrigin::from(Any),
        some => AllowOrigin::list(some.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(REQUEST)
        .expose_headers(RESPONSE)
        .max_age(MAX_AGE);
    routes.layer(layer)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::response::Response;
    use tower::ServiceExt;

    use super::*;

    async fn ask(origins: &[&str], method: &str, origin: &str) -> Response {
        let settings = ServerSettings {
            cors_origins: origins.iter().map(ToString::to_string).collect(),
            ..ServerSettings::default()
        };
        let routes = allow(Router::new().fallback(|| async { StatusCode::IM_A_TEAPOT }), &settings);
        let request = Request::builder()
            .method(method)
            .uri("/classify")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key");
        routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn allowed(response: &Response) -> Option<&str> {
        response.headers().get("access-control-allow-origin")?.to_str().ok()
    }

    #[tokio::test]
    async fn only_the_origins_that_are_set_are_allowed() {
        let page = "https://app.example";
        assert_eq!(allowed(&ask(&[], "GET", page).await), None);
        assert_eq!(allowed(&ask(&["*"], "GET", page).await), Some("*"));
        assert_eq!(
            allowed(&ask(&[page, "https://other.example"], "GET", page).await),
            Some(page)
        );
        assert_eq!(allowed(&ask(&["https://other.example"], "GET", page).await), None);
    }

    #[tokio::test]
    async fn a_browser_that_asks_first_is_told() {
        let told = ask(&["https://app.example"], "OPTIONS", "https://app.example").await;
        assert_eq!(told.status(), StatusCode::OK);
        let header = |name: &str| told.headers()[name].to_str().unwrap();
        assert!(header("access-control-allow-methods").contains("POST"));
        assert!(header("access-control-allow-headers").contains("x-api-key"));
        let off = ask(&[], "OPTIONS", "https://app.example").await;
        assert_eq!((off.status(), allowed(&off)), (StatusCode::IM_A_TEAPOT, None));
    }
}
