//! `ModelInfer`: a message to tensors or images, and their rows to a message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use prost::Message;

use super::proto::model_infer_response::InferOutputTensor;
use super::proto::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use super::{bounds, frame, request, timeout};
use crate::classify::{Admitted, Served};
use crate::http::body_budget::BodyCharge;
use crate::http::client::{Client, Identity};
use crate::http::compression::Coding;
use crate::http::error::{Code, Problem};
use crate::http::inference::{Elements, InferLimits, InferRequest, ModelOutput, Ran, RunContext};
use crate::http::observe::Arrived;
use crate::http::offload::offload;
use crate::http::timing::StageTimes;
use crate::http::{Shared, body, lookup};
use repserve_runtime::Row;
use repserve_scheduler::Timings;

/// Bytes that a value takes in a response.
const VALUE_BYTES: usize = 4;

/// The method.
pub(super) async fn model_infer(
    State(shared): State<Shared>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    Extension(charge): Extension<BodyCharge>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (timeout, coding) = (timeout::timeout(&headers)?, frame::coding(&headers)?);
    let context = RunContext {
        shared,
        identity,
        arrived,
        timeout,
        packed: coding != Coding::Identity,
    };
    let shared = &context.shared;
    let early = admit_early(&context).await?;
    let bytes_max = shared.limits.request_bytes_max;
    let within = body::BodyTimeouts::new(&shared.server);
    let body = body::read_as_sent(body, bytes_max + frame::PREFIX_BYTES, within).await?;
    let message = frame::message(body, coding, bytes_max, &charge).await?;
    let inferred = run(&context, message, &charge, early).await?;
    let times = StageTimes {
        timings: inferred.timings,
        postprocess: Duration::ZERO,
    };
    let mut response =
        frame::response_of(encode(inferred, identity.client, |response| frame::framed(&response)).await?);
    times.attach(&mut response);
    Ok(response)
}

/// What a model computed for a request.
pub(super) struct Inferred {
    served: Arc<Served>,
    request: InferRequest,
    rows: Vec<Row>,
    pub(super) timings: Timings,
}

/// Runs the request in a message, which has a place already where that is for its model.
pub(super) async fn run(
    context: &RunContext,
    message: Bytes,
    charge: &BodyCharge,
    early: Option<(Arc<Served>, Admitted)>,
) -> Result<Inferred, Problem> {
    let (served, mut request) = read(message, charge, &context.shared).await?;
    let admitted = match early {
        Some((model, admitted)) if Arc::ptr_eq(&model, &served) => admitted,
        _ => context.admit(&served).await?,
    };
    let Ran { rows, timings } = context.run(&served, &mut request, admitted).await?;
    Ok(Inferred {
        served,
        request,
        rows,
        timings,
    })
}

/// The response to a request in its frame, of which `frame` makes it.
pub(super) async fn encode(
    inferred: Inferred,
    client: Client,
    frame: impl FnOnce(ModelInferResponse) -> Result<Bytes, Problem> + Send + 'static,
) -> Result<Bytes, Problem> {
    let Inferred {
        served, request, rows, ..
    } = inferred;
    let values: usize = rows.iter().flat_map(|row| request.values(row)).map(<[f32]>::len).sum();
    offload(client, values * VALUE_BYTES, move || {
        let began = Instant::now();
        let framed = frame(response(&served, &rows, &request));
        served.statistics().output(rows.len(), began.elapsed());
        framed
    })
    .await?
}

/// A place before the message is read, where it can only be for the one model that is served: its name stands in the message.
pub(super) async fn admit_early(context: &RunContext) -> Result<Option<(Arc<Served>, Admitted)>, Problem> {
    let mut all = context.shared.models.all();
    match (all.pop(), all.is_empty()) {
        (None, _) => Err(context.shared.health.problem()),
        (Some(served), true) => {
            let admitted = context.admit(&served).await?;
            Ok(Some((served, admitted)))
        }
        (Some(_), false) => Ok(None),
    }
}

/// The request in a message, and the model that it is for. It is charged for what is made of the message, then for what is left of it.
async fn read(message: Bytes, charge: &BodyCharge, shared: &Shared) -> Result<(Arc<Served>, InferRequest), Problem> {
    let (limits, bytes) = (InferLimits::of(&shared.limits), message.len());
    let (reading, shared) = (charge.clone(), shared.clone());
    let read = offload(charge.client(), bytes, move || {
        let holds = bounds::check(&message, limits)?;
        reading.hold(bytes.saturating_add(holds.beside_bytes))?;
        let message = ModelInferRequest::decode(message)
            .map_err(|error| Problem::new(Code::Malformed, format!("the message is no ModelInferRequest: {error}")))?;
        let version = Some(message.model_version.as_str()).filter(|version| !version.is_empty());
        let served = lookup::find(&shared, Some(&message.model_name), version)?;
        let request = request::read(message, bytes, served.signature(), limits)?;
        Ok::<_, Problem>((served, request))
    });
    let (served, request) = read.await??;
    charge.hold(request.bytes)?;
    Ok((served, request))
}

fn response(served: &Served, rows: &[Row], request: &InferRequest) -> ModelInferResponse {
    let model_output = ModelOutput {
        signature: served.signature(),
        rows,
        scores: served.scores(),
    };
    let mut response = ModelInferResponse {
        model_name: served.name().to_owned(),
        model_version: served.version().to_owned(),
        id: request.id.clone().unwrap_or_default(),
        ..ModelInferResponse::default()
    };
    for wanted in &request.outputs {
        let tensor = model_output.tensor(*wanted, |index| served.label(index));
        let mut contents = InferTensorContents::default();
        match tensor.elements {
            Elements::Numbers(numbers) => contents.fp32_contents = numbers,
            Elements::Strings(strings) => contents.bytes_contents = strings.into_iter().map(Bytes::from).collect(),
            Elements::Raw(raw) => response.raw_output_contents.push(raw.into()),
        }
        response.outputs.push(InferOutputTensor {
            name: tensor.name.to_owned(),
            datatype: tensor.datatype.to_owned(),
            shape: tensor.shape.iter().map(|extent| *extent as i64).collect(),
            contents: (!wanted.raw).then_some(contents),
            ..InferOutputTensor::default()
        });
    }
    response
}
