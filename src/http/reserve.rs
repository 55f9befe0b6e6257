//! Connections beyond the limit: each gets one response, to a probe. So what monitors the server can reach it also when
//! clients hold every connection.

use axum::extract::Request;

use super::connection::Reserved;
use super::error::{Code, Problem};

/// Whether a request came on a connection beyond the limit, which is closed after its response.
pub(super) fn is_reserved(request: &Request) -> bool {
    request.extensions().get::<Reserved>().is_some()
}

/// Refuses all but probes on such a connection.
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    if !is_reserved(request) || is_probe(request.uri().path()) {
        return Ok(());
    }
    Err(Problem::new(Code::NoConnection, "every connection that may be open has a request").retry_soon())
}

fn is_probe(path: &str) -> bool {
    matches!(
        path,
        "/livez"
            | "/readyz"
            | "/healthz"
            | "/v2/health/live"
            | "/v2/health/ready"
            | "/grpc.health.v1.Health/Check"
            | "/inference.GRPCInferenceService/ServerLive"
            | "/inference.GRPCInferenceService/ServerReady"
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
