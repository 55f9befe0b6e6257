//! `/openapi.json`: OpenAPI 3.1, made from the handlers and the types of the wire.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ObjectBuilder, PathItem, Ref, Required, ResponseBuilder, SecurityRequirement, Type};
use utoipa::{Modify, OpenApi};

use super::response_budget::StaticBody;
use super::{Shared, classify, health, metrics, v2, wire};

/// The document, before it is known whether keys are needed.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "repserve",
        description = "Classifies images with a re-parameterized convolutional network. Errors are RFC 9457 problems with a stable `code`."
    ),
    paths(
        classify::classify,
        health::live,
        health::ready,
        health::healthz,
        metrics::metrics,
        v2::server,
        v2::live,
        v2::ready,
        v2::index,
        v2::load,
        v2::unload,
        v2::model,
        v2::model_ready,
        v2::all_stats,
        v2::model_stats,
        v2::model_config,
        v2::infer,
    ),
    components(schemas(wire::Problem)),
    modifiers(&Versions, &Problems),
    tags(
        (name = "classify", description = "Images in, classes out"),
        (name = "inference protocol", description = "Open Inference Protocol V2, as Triton and KServe use it"),
        (name = "operations", description = "Probes and metrics")
    )
)]
struct Document;

/// What each status means here, and which operations can return it.
const PROBLEMS: [(&str, &str, &[&str]); 13] = [
    (
        "400",
        "The request cannot be understood",
        &[
            "classify",
            "infer",
            "model",
            "model_ready",
            "model_stats",
            "model_config",
            "index",
            "load",
            "unload",
        ],
    ),
    (
        "401",
        "An API key is needed",
        &[
            "classify",
            "infer",
            "model",
            "model_ready",
            "model_stats",
            "model_config",
            "all_stats",
            "server",
            "index",
            "load",
            "unload",
            "metrics",
        ],
    ),
    (
        "403",
        "Models are not loaded and unloaded by requests here (`models.control`)",
        &["load", "unload"],
    ),
    (
        "404",
        "There is no such model",
        &[
            "classify",
            "infer",
            "model",
            "model_ready",
            "model_stats",
            "model_config",
            "load",
            "unload",
        ],
    ),
    (
        "408",
        "The body did not arrive in time, or too slowly",
        &["classify", "infer", "index", "load", "unload"],
    ),
    ("409", "The model was unloaded while it was loaded", &["load"]),
    (
        "413",
        "Too many bytes, pixels or images",
        &["classify", "infer", "index", "load", "unload"],
    ),
    (
        "415",
        "Not a type that is read here",
        &["classify", "infer", "index", "load", "unload"],
    ),
    (
        "422",
        "An image cannot be decoded, the model's output overflows on it, or the model cannot be served",
        &["classify", "infer", "load"],
    ),
    (
        "429",
        "Busy; `retry-after` says when to try again",
        &["classify", "infer", "index", "load", "unload"],
    ),
    ("500", "An error of the server", &["classify", "infer", "metrics"]),
    (
        "503",
        "Not ready, or going down",
        &[
            "classify",
            "infer",
            "model",
            "model_ready",
            "model_stats",
            "model_config",
            "load",
            "unload",
            "ready",
            "healthz",
            "v2_ready",
        ],
    ),
    ("504", "No response before the deadline", &["classify", "infer"]),
];

/// Adds to each operation the problems that it can return.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in operations(item) {
                let name = operation.operation_id.clone().unwrap_or_default();
                let name = name.trim_end_matches("_of_version").to_owned();
                for (status, meaning, _) in PROBLEMS.iter().filter(|(_, _, all)| all.contains(&name.as_str())) {
                    let content = Content::new(Some(Ref::from_schema_name("Problem")));
                    let response = ResponseBuilder::new()
                        .description(*meaning)
                        .content("application/problem+json", content)
                        .build();
                    operation
                        .responses
                        .responses
                        .insert((*status).to_owned(), response.into());
                }
            }
        }
    }
}

/// Every path of a model is also there with its version.
struct Versions;

impl Modify for Versions {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        const MODEL: &str = "/v2/models/{model}";
        let found: Vec<_> = document
            .paths
            .paths
            .iter()
            .filter_map(|(path, item)| Some((path.strip_prefix(MODEL)?.to_owned(), item.clone())))
            .collect();
        for (rest, mut item) in found {
            for operation in operations(&mut item) {
                operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_of_version"));
                let version = ParameterBuilder::new()
                    .name("version")
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .description(Some("The model's version"))
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                    .build();
                operation.parameters.get_or_insert_default().push(version.into());
            }
            document
                .paths
                .paths
                .insert(format!("{MODEL}/versions/{{version}}{rest}"), item);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    item.get.iter_mut().chain(item.post.iter_mut())
}

/// The document of a server that requires keys.
fn with_keys(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme("key", header);
    components.add_security_scheme("bearer", bearer);
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            if operation.responses.responses.contains_key("401") {
                let none: [String; 0] = [];
                let either = ["key", "bearer"].map(|scheme| SecurityRequirement::new(scheme, none.clone()));
                operation.security = Some(either.to_vec());
            }
        }
    }
    document
}

static OPEN: LazyLock<String> = LazyLock::new(|| Document::openapi().to_json().unwrap_or_default());
static KEYED: LazyLock<String> = LazyLock::new(|| with_keys(Document::openapi()).to_json().unwrap_or_default());

/// `GET /openapi.json`
pub(super) async fn document(State(shared): State<Shared>) -> Response {
    let text = if shared.security.keys.is_some() {
        KEYED.as_str()
    } else {
        OPEN.as_str()
    };
    let mut response = ([(CONTENT_TYPE, "application/json")], text).into_response();
    response.extensions_mut().insert(StaticBody);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_operation_is_described() {
        let document: Value = serde_json::from_str(&OPEN).unwrap();
        assert_eq!(
            document["openapi"]
                .as_str()
                .unwrap()
                .split('.')
                .take(2)
                .collect::<Vec<_>>(),
            ["3", "1"]
        );
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 22);
        let mut ids = std::collections::BTreeSet::new();
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path} has no summary");
                assert!(
                    ids.insert(operation["operationId"].as_str().unwrap()),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn images_are_bytes_and_no_json() {
        let document: Value = serde_json::from_str(&OPEN).unwrap();
        let schema = &document["components"]["schemas"]["Octets"];
        assert_eq!(
            (&schema["type"], &schema["format"]),
            (&"string".into(), &"binary".into())
        );
        let body = &document["paths"]["/classify"]["post"]["requestBody"]["content"]["image/png"];
        assert_eq!(body["schema"]["$ref"], "#/components/schemas/Octets");
    }

    #[test]
    fn a_request_has_as_many_inputs_as_the_model() {
        let document: Value = serde_json::from_str(&OPEN).unwrap();
        let request = &document["components"]["schemas"]["InferenceRequest"];
        assert!(request["required"].as_array().unwrap().contains(&"inputs".into()));
        let inputs = &request["properties"]["inputs"];
        assert_eq!((&inputs["minItems"], &inputs["maxItems"]), (&1.into(), &1.into()));
        assert_eq!(
            request["properties"]["outputs"]["maxItems"],
            1 + repserve_compile::EMBEDDINGS_MAX
        );
    }

    #[test]
    fn problems_name_operations_that_are_there() {
        let document: Value = serde_json::from_str(&OPEN).unwrap();
        let text = document.to_string();
        for (status, _, operations) in PROBLEMS {
            for operation in operations {
                assert!(
                    text.contains(&format!("\"operationId\":\"{operation}\"")),
                    "{status} {operation}"
                );
            }
        }
    }

    #[test]
    fn keys_are_described_only_where_they_are_needed() {
        let security = |text: &str, path: &str| {
            let document: Value = serde_json::from_str(text).unwrap();
            document["paths"][path].as_object().unwrap().values().next().unwrap()["security"].is_array()
        };
        assert!(security(&KEYED, "/classify") && security(&KEYED, "/metrics"));
        assert!(!security(&KEYED, "/readyz") && !security(&KEYED, "/v2/health/live"));
        assert!(!security(&OPEN, "/classify"));
    }
}
