//! Every route on one page.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::budget::{self, Budget};
use super::error::{Code, Problem};
use super::secure::{auth, headers};
use super::{Shared, classify, health, metrics, observe, openapi, page, v2};

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
        .layer(from_fn_with_state(Budget::new(&shared.limits), budget::within))
        .layer(from_fn_with_state(shared.clone(), headers::harden))
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} does not know {method}; the header `allow` says what it knows",
            uri.path()
        ),
    )
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Problem::internal().into_response()
}
