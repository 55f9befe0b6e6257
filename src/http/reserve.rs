//! Connections beyond the limit: each gets one response, to a probe. So what monitors the server can reach it also when
//! clients hold every connection.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::connection::Reserved;
use super::error::{Code, Problem};
use super::keep_alive::close_after;

/// The layer.
pub(super) async fn probes_only(request: Request, next: Next) -> Response {
    if request.extensions().get::<Reserved>().is_none() {
        return next.run(request).await;
    }
    let mut response = if is_probe(request.uri().path()) {
        next.run(request).await
    } else {
        Problem::new(Code::NoConnection, "every connection that may be open has a request")
            .retry_soon()
            .into_response()
    };
    close_after(&mut response);
    response
}

fn is_probe(path: &str) -> bool {
    matches!(
        path,
        "/livez" | "/readyz" | "/healthz" | "/v2/health/live" | "/v2/health/ready"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: bool) {
        assert_eq!(is_probe(path), expected, "{path}");
    }

    #[test]
    fn probes_are_distinguished_from_work() {
        check("/livez", true);
        check("/v2/health/ready", true);
        check("/livez/", false);
        check("/metrics", false);
        check("/v2/models/m/ready", false);
        check("/classify", false);
    }
}
