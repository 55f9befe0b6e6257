//! Every route on one page.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::answers::{self, Answers};
use super::budget::{self, Budget};
use super::echo::echo;
use super::error::{Code, Problem};
use super::secure::{auth, headers};
use super::{Shared, classify, framing, health, metrics, observe, openapi, page, reserve, v2};

/// All routes, with what happens to every request around them.
pub fn router(shared: Shared) -> Router {
    let key = from_fn_with_state(shared.clone(), auth::require_key);
    let mut routes = Router::new()
        .route("/classify", post(classify::classify))
        .merge(v2::routes());
    if shared.server.admin_listen.is_none() {
        routes = routes.route("/metrics", get(metrics::metrics));
    }
    let open = v2::probes().merge(probes()).merge(pages());
    around(routes.route_layer(key).merge(open), shared)
}

/// What the second listener serves: `/metrics` and the probes, without a key.
pub fn admin_router(shared: Shared) -> Router {
    around(probes().route("/metrics", get(metrics::metrics)), shared)
}

/// For people, and the description that programs read.
fn pages() -> Router<Shared> {
    Router::new()
        .route("/", get(page::index))
        .route("/docs", get(page::docs))
        .route("/openapi.json", get(openapi::document))
}

fn probes() -> Router<Shared> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::healthz))
}

/// What happens to every request.
fn around(routes: Router<Shared>, shared: Shared) -> Router {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Budget::new(&shared), budget::within))
        .layer(from_fn(reserve::probes_only))
        .layer(from_fn(framing::check))
        .layer(from_fn_with_state(Answers::new(&shared.limits), answers::within))
        .layer(from_fn_with_state(shared.clone(), headers::harden))
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", echo(uri.path()))).at(&uri)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} does not know {}; the header `allow` says what it knows",
            echo(uri.path()),
            echo(method.as_str())
        ),
    )
    .at(&uri)
}

fn panicked(payload: Box<dyn Any + Send>) -> Response {
    Problem::panicked(&*payload).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;
    use crate::classify::Models;
    use crate::http::{Health, LimitSettings, Security, ServerSettings};
    use crate::telemetry::Metrics;

    fn shared() -> Shared {
        Shared {
            models: Arc::new(Models::default()),
            health: Arc::new(Health::default()),
            metrics: Arc::new(Metrics::new().unwrap()),
            server: Arc::new(ServerSettings::default()),
            spans: None,
            security: Security::default(),
            limits: Arc::new(LimitSettings::default()),
        }
    }

    async fn panics() {
        panic!("by intent");
    }

    #[tokio::test]
    async fn a_panic_in_the_inference_protocol_is_an_error_of_its_own_kind() {
        let routes = v2::caught(Router::new().route("/v2/panics", get(panics)));
        let request = Request::get("/v2/panics")
            .header("host", "x")
            .body(Body::empty())
            .unwrap();
        let answer = around(routes, shared()).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], body["detail"], "{body}");
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_an_answer_and_counted() {
        let shared = shared();
        let routes = around(Router::new().route("/panics", get(panics)), shared.clone());
        let request = Request::get("/panics").header("host", "x").body(Body::empty()).unwrap();
        let answer = routes.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("x-request-id"));
        let text = String::from_utf8(shared.metrics.encode().unwrap()).unwrap();
        let line = "repserve_http_requests_total{code=\"500\",method=\"GET\",route=\"/panics\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
