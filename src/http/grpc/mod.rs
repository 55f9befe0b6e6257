//! The Open Inference Protocol, version 2, over gRPC, with the standard services for health and reflection.
//!
//! [`proto`] are the messages, [`frame`] how they are framed, [`bounds`] what a request may hold, [`timeout`] how long its client waits.
//! [`infer`] runs a model, [`stream`] on the many messages of a call; [`request`] makes images of a message. [`about`] describes, by way of [`unary`]; [`control`] loads and unloads models. [`status`] makes a problem a
//! status. A method is a route like any other: who sends a request, what its body may hold, whether there is room, and how it is counted
//! is the same as over HTTP, and so is everything in [`super::inference`].

mod about;
mod bounds;
mod control;
mod frame;
mod health;
mod infer;
mod proto;
mod request;
mod status;
mod stream;
mod timeout;
mod unary;
mod within;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use bytes::Bytes;
use prost::Message;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;

use self::health::HealthService;
use self::unary::unary;
use super::Shared;
use super::inference::InferLimits;
use super::settings::LimitSettings;
use repserve_compile::Signature;

pub(super) use self::status::{is_call, only_calls, translate};

/// Bytes of a message to the standard services at most.
const SMALL_BYTES_MAX: usize = 16 << 10;

/// The methods that need a key where keys are set.
pub(super) fn methods() -> Router<Shared> {
    let path = |method: &str| format!("/{}/{method}", proto::SERVICE);
    Router::new()
        .route(&path("ServerMetadata"), unary(about::server_metadata))
        .route(&path("ModelReady"), unary(about::model_ready))
        .route(&path("ModelMetadata"), unary(about::model_metadata))
        .route(&path("ModelConfig"), unary(about::model_config))
        .route(&path("ModelStatistics"), unary(about::model_statistics))
        .route(&path("ModelInfer"), post(infer::model_infer))
        .route(&path("ModelStreamInfer"), post(stream::model_stream_infer))
        .route(&path("RepositoryIndex"), unary(about::repository_index))
        .route(&path("RepositoryModelLoad"), post(control::load))
        .route(&path("RepositoryModelUnload"), post(control::unload))
}

/// Whether a call has many responses, each of which is charged by itself.
pub(super) fn is_stream(path: &str) -> bool {
    path.ends_with("/ModelStreamInfer")
}

/// The probes, and what describes the services: they need no key.
pub(super) fn open(shared: &Shared) -> Router<Shared> {
    let path = |method: &str| format!("/{}/{method}", proto::SERVICE);
    let health = HealthServer::new(HealthService::new(shared.clone())).max_decoding_message_size(SMALL_BYTES_MAX);
    Router::new()
        .route(&path("ServerLive"), unary(about::server_live))
        .route(&path("ServerReady"), unary(about::server_ready))
        .route_service("/grpc.health.v1.Health/{method}", health)
        .merge(reflection().layer(from_fn_with_state(shared.clone(), within::end_in_time)))
}

/// The reflection service in the versions that are in use. The description is part of the program: a test reads it.
fn reflection() -> Router<Shared> {
    let describe = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Router::new();
    match describe().build_v1() {
        Ok(v1) => {
            let v1 = v1.max_decoding_message_size(SMALL_BYTES_MAX);
            routes = routes.route_service("/grpc.reflection.v1.ServerReflection/{method}", v1);
        }
        Err(error) => tracing::error!(%error, "gRPC reflection is not served"),
    }
    match describe().build_v1alpha() {
        Ok(alpha) => {
            let alpha = alpha.max_decoding_message_size(SMALL_BYTES_MAX);
            routes = routes.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", alpha);
        }
        Err(error) => tracing::error!(%error, "gRPC reflection is not served"),
    }
    routes
}

/// Reads an inference request: how many images it has and how many bytes they hold, or why it is refused.
pub(super) fn images(message: Bytes, signature: &Signature, limits: &LimitSettings) -> Result<(usize, usize), String> {
    let (limits, bytes) = (InferLimits::of(limits), message.len());
    bounds::check(&message, limits).map_err(|error| error.to_string())?;
    let message = proto::ModelInferRequest::decode(message).map_err(|error| error.to_string())?;
    let read = request::read(message, bytes, signature, limits).map_err(|error| error.to_string())?;
    Ok((read.work.len(), read.bytes))
}
