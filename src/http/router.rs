//! Every route on one page.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::around::{self, Around};
use super::echo::echo;
use super::error::{Code, Problem};
use super::secure::auth;
use super::{Shared, classify, cors, grpc, health, metrics, openapi, page, v2};

/// What each listener serves.
#[derive(Debug)]
pub struct Routers {
    /// HTTP.
    pub http: Router,
    /// gRPC.
    pub grpc: Router,
}

/// All routes over HTTP and over gRPC, with what happens to every request around them. A client has one share, whatever it speaks.
pub fn routers(shared: Shared) -> Routers {
    let around = Around::new(shared.clone());
    Routers {
        http: cors::allow(
            layered(http_routes(&shared), around.clone(), shared.clone()),
            &shared.server,
        ),
        grpc: layered(grpc_routes(&shared), around.of_grpc(), shared),
    }
}

/// All routes over HTTP.
pub fn router(shared: Shared) -> Router {
    routers(shared).http
}

fn http_routes(shared: &Shared) -> Router<Shared> {
    let mut routes = Router::new()
        .route("/classify", post(classify::classify))
        .merge(v2::routes());
    if shared.server.admin_listen.is_none() {
        routes = routes.route("/metrics", get(metrics::metrics)).merge(v2::control());
    }
    let open = v2::probes().merge(probes()).merge(pages(shared));
    or_else(keyed(routes, shared).merge(open))
}

fn grpc_routes(shared: &Shared) -> Router<Shared> {
    or_else(keyed(grpc::methods(), shared).merge(grpc::open(shared)))
}

/// Routes that need a key where keys are set.
fn keyed(routes: Router<Shared>, shared: &Shared) -> Router<Shared> {
    match shared.security.keys {
        Some(_) => routes.route_layer(from_fn_with_state(shared.clone(), auth::require_key)),
        None => routes,
    }
}

/// What the second listener serves: `/metrics` and the probes, without a key; loading and unloading models, with one where keys are set.
pub fn admin_router(shared: Shared) -> Router {
    let control = keyed(v2::control().merge(v2::index_route()), &shared);
    let routes = or_else(probes().route("/metrics", get(metrics::metrics)).merge(control));
    layered(routes, Around::new(shared.clone()), shared)
}

/// For people, and the description that programs read.
fn pages(shared: &Shared) -> Router<Shared> {
    page::routes(&shared.limits, &shared.server).route("/openapi.json", get(openapi::document))
}

fn probes() -> Router<Shared> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::healthz))
}

/// What is answered where no route is.
fn or_else(routes: Router<Shared>) -> Router<Shared> {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

/// What happens to every request.
fn layered(routes: Router<Shared>, around: Around, shared: Shared) -> Router {
    routes
        .layer((
            from_fn_with_state(around, around::around),
            CatchPanicLayer::custom(panicked),
            DefaultBodyLimit::disable(),
        ))
        .with_state(shared)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", echo(uri.path())))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} does not know {}; the header `allow` lists what it knows",
            echo(uri.path()),
            echo(method.as_str())
        ),
    )
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
    use crate::http::{Health, LimitSettings, Security, ServerSettings, SharedParts};
    use crate::telemetry::Metrics;

    fn shared() -> SharedParts {
        SharedParts {
            models: Arc::new(Models::default()),
            repository: None,
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

    fn layered(routes: Router<Shared>, shared: Shared) -> Router {
        super::layered(or_else(routes), Around::new(shared.clone()), shared)
    }

    /// The body of what is returned for a request, of the length in its header.
    async fn refused(routes: Router<Shared>, request: Request<Body>, status: StatusCode) -> serde_json::Value {
        let head = request.method() == Method::HEAD;
        let response = layered(routes, shared().into()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        if head {
            assert!(length > 0 && body.is_empty());
            return serde_json::Value::Null;
        }
        assert_eq!(body.len(), length);
        serde_json::from_slice(&body).unwrap()
    }

    #[track_caller]
    fn check_member(body: &serde_json::Value, expected: bool) {
        assert!(body["detail"].is_string(), "{body}");
        assert_eq!(body.get("error"), body.get("detail").filter(|_| expected), "{body}");
    }

    #[tokio::test]
    async fn every_error_below_v2_has_the_member_error_and_no_other_has() {
        let routes = || {
            Router::new()
                .route("/v2/panics", get(panics))
                .route("/v2x", get(panics))
                .route("/panics", get(panics))
        };
        let ask = |path: &str, method: &str| Request::builder().uri(path).method(method);
        let whole = |request: axum::http::request::Builder| request.header("host", "x").body(Body::empty()).unwrap();
        let crash = StatusCode::INTERNAL_SERVER_ERROR;
        for (path, method, status, expected) in [
            ("/v2/panics", "GET", crash, true),
            ("/v2/panics", "POST", StatusCode::METHOD_NOT_ALLOWED, true),
            ("/v2/nothing", "GET", StatusCode::NOT_FOUND, true),
            ("/v2", "GET", StatusCode::NOT_FOUND, true),
            ("/v2/", "GET", StatusCode::NOT_FOUND, true),
            ("/v2x", "GET", crash, false),
            ("/v2x", "POST", StatusCode::METHOD_NOT_ALLOWED, false),
            ("/panics", "GET", crash, false),
            ("/nothing/v2", "GET", StatusCode::NOT_FOUND, false),
        ] {
            check_member(&refused(routes(), whole(ask(path, method)), status).await, expected);
        }
        refused(routes(), whole(ask("/v2/panics", "HEAD")), crash).await;

        let without_host = |path: &str| ask(path, "GET").body(Body::empty()).unwrap();
        let malformed = StatusCode::BAD_REQUEST;
        check_member(&refused(routes(), without_host("/v2/panics"), malformed).await, true);
        check_member(&refused(routes(), without_host("/panics"), malformed).await, false);

        let beyond_the_limit = |path: &str| {
            let mut request = whole(ask(path, "GET"));
            request.extensions_mut().insert(crate::http::connection::Reserved);
            request
        };
        let no_connection = StatusCode::SERVICE_UNAVAILABLE;
        check_member(
            &refused(routes(), beyond_the_limit("/v2/panics"), no_connection).await,
            true,
        );
        check_member(
            &refused(routes(), beyond_the_limit("/panics"), no_connection).await,
            false,
        );
    }

    #[tokio::test]
    async fn a_response_for_which_no_memory_is_left_has_it_too() {
        let mut shared = shared();
        shared.limits = Arc::new(LimitSettings {
            answers_bytes_max: 0,
            ..LimitSettings::default()
        });
        let large = || async { vec![0u8; 1 << 20] };
        let routes = Router::new().route("/v2/large", get(large));
        let request = Request::get("/v2/large")
            .header("host", "x")
            .body(Body::empty())
            .unwrap();
        let response = layered(routes, shared.into()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        check_member(&serde_json::from_slice(&body).unwrap(), true);
    }

    #[tokio::test]
    async fn a_handler_that_panics_gets_a_response_and_is_counted() {
        let shared = Shared::from(shared());
        let routes = layered(Router::new().route("/panics", get(panics)), shared.clone());
        let request = Request::get("/panics").header("host", "x").body(Body::empty()).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key("x-request-id"));
        let text = String::from_utf8(shared.metrics.encode().unwrap()).unwrap();
        let line = "repserve_http_requests_total{code=\"500\",method=\"GET\",route=\"/panics\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
