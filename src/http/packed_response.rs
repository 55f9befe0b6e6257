//! Responses compressed as their clients ask for it (`accept-encoding`, RFC 9110, section 12.5.3).

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use super::client::Client;
use super::compression::Coding;
use super::error::{Problem, ProblemDetail};
use super::offload::offload;
use super::response_budget::StaticBody;

/// Less is not worth the work.
const BYTES_MIN: u64 = 1 << 10;

/// The coding that the client of a request prefers, of those that are written here; none unless it asks for one.
pub(super) fn accepted(request: &Request) -> Coding {
    match *request.method() {
        Method::HEAD => Coding::Identity,
        _ => preferred(request.headers()),
    }
}

/// The response, compressed where that is worth it; away from the threads that serve connections where it is large.
pub(super) async fn pack(mut response: Response, accepted: Coding, client: Client) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept-encoding"));
    match accepted {
        Coding::Identity => response,
        coding => packed(response, coding, client)
            .await
            .unwrap_or_else(Problem::into_response),
    }
}

async fn packed(response: Response, coding: Coding, client: Client) -> Result<Response, Problem> {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|_| Problem::internal())?.to_bytes();
    let packed = offload(client, bytes.len(), move || coding.pack(&bytes)).await?;
    let packed = packed.map_err(|error| {
        tracing::error!(%error, "cannot compress a response");
        Problem::internal()
    })?;
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    Ok(Response::from_parts(head, Body::from(packed)))
}

/// Whether a response has a body that is made for it, large enough, and of a type that is not compressed already.
fn is_worth_it(response: &Response) -> bool {
    let (headers, extensions) = (response.headers(), response.extensions());
    let of_its_own = extensions.get::<StaticBody>().is_none() && extensions.get::<ProblemDetail>().is_none();
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let compressible = value.starts_with("application/json")
        || value.starts_with("application/octet-stream")
        || value.starts_with("text/");
    let large = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|bytes| bytes >= BYTES_MIN);
    of_its_own && compressible && large && !headers.contains_key(CONTENT_ENCODING)
}

fn preferred(headers: &HeaderMap) -> Coding {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let items = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut best = (Coding::Identity, 0.0);
    for item in items {
        let mut parts = item.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let quality = parts
            .find_map(|part| part.trim().strip_prefix("q=")?.trim().parse().ok())
            .unwrap_or(1.0);
        let coding = if name == "*" {
            Some(Coding::Gzip)
        } else {
            Coding::called(name)
        };
        if let Some(coding @ (Coding::Gzip | Coding::Deflate)) = coding
            && quality > best.1
        {
            best = (coding, quality);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&'static str], expected: Coding) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(preferred(&headers), expected, "{values:?}");
    }

    #[test]
    fn a_client_says_what_it_takes() {
        check(&[], Coding::Identity);
        check(&["identity"], Coding::Identity);
        check(&["br, zstd"], Coding::Identity);
        check(&["gzip, deflate, br"], Coding::Gzip);
        check(&["deflate"], Coding::Deflate);
        check(&["br", "GZIP"], Coding::Gzip);
        check(&["gzip;q=0.2, deflate; q=0.8"], Coding::Deflate);
        check(&["gzip;q=0"], Coding::Identity);
        check(&["*"], Coding::Gzip);
    }
}
