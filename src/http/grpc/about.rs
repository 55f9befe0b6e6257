//! What the server is, what it serves, and what its models have done.

use super::proto::model_metadata_response::TensorMetadata;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelConfigRequest, ModelConfigResponse,
    ModelDynamicBatching, ModelInput, ModelMetadataRequest, ModelMetadataResponse, ModelOutput, ModelReadyRequest,
    ModelReadyResponse, ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse, StatisticDuration,
};
use crate::classify::{Served, Total};
use crate::http::error::Problem;
use crate::http::health::HealthState;
use crate::http::inference::{Configuration, EXTENSIONS, OutputDims, PLATFORM, outputs};
use crate::http::{Shared, lookup};
use crate::repository::{READY, Repository};

pub(super) fn server_live(_: &Shared, _: ServerLiveRequest) -> Result<ServerLiveResponse, Problem> {
    Ok(ServerLiveResponse { live: true })
}

pub(super) fn server_ready(shared: &Shared, _: ServerReadyRequest) -> Result<ServerReadyResponse, Problem> {
    Ok(ServerReadyResponse {
        ready: is_ready(shared),
    })
}

pub(super) fn model_ready(shared: &Shared, request: ModelReadyRequest) -> Result<ModelReadyResponse, Problem> {
    let served = lookup::find(shared, Some(&request.name), given(&request.version));
    Ok(ModelReadyResponse {
        ready: served.is_ok() && !shared.health.draining(),
    })
}

fn is_ready(shared: &Shared) -> bool {
    shared.health.get() == HealthState::Ready
}

/// A version where one is given.
fn given(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

pub(super) fn server_metadata(_: &Shared, _: ServerMetadataRequest) -> Result<ServerMetadataResponse, Problem> {
    Ok(ServerMetadataResponse {
        name: "repserve".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    })
}

pub(super) fn model_metadata(shared: &Shared, request: ModelMetadataRequest) -> Result<ModelMetadataResponse, Problem> {
    let served = lookup::find(shared, Some(&request.name), given(&request.version))?;
    let signature = served.signature();
    let mut image = vec![-1];
    image.extend(signature.image.map(|extent| extent as i64));
    let tensor = |name: &str, shape| TensorMetadata {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape,
    };
    Ok(ModelMetadataResponse {
        name: served.name().to_owned(),
        versions: vec![served.version().to_owned()],
        platform: PLATFORM.to_owned(),
        inputs: vec![tensor(&signature.input, image)],
        outputs: outputs(signature)
            .iter()
            .map(|output| tensor(output.name, output.of_batch()))
            .collect(),
    })
}

pub(super) fn model_config(shared: &Shared, request: ModelConfigRequest) -> Result<ModelConfigResponse, Problem> {
    let served = lookup::find(shared, Some(&request.name), given(&request.version))?;
    let configuration = Configuration::of(&served, &shared.limits);
    let signature = served.signature();
    let output = |output: &OutputDims<'_>| ModelOutput {
        name: output.name.to_owned(),
        data_type: DataType::TypeFp32.into(),
        dims: output.dims.clone(),
        label_filename: String::new(),
    };
    Ok(ModelConfigResponse {
        config: Some(ModelConfig {
            name: served.name().to_owned(),
            platform: PLATFORM.to_owned(),
            backend: configuration.backend.to_owned(),
            max_batch_size: configuration.max_batch_size,
            input: vec![ModelInput {
                name: signature.input.clone(),
                data_type: DataType::TypeFp32.into(),
                dims: configuration.input_dims.to_vec(),
            }],
            output: configuration.outputs.iter().map(output).collect(),
            default_model_filename: String::new(),
            dynamic_batching: Some(ModelDynamicBatching {
                max_queue_delay_microseconds: 0,
            }),
        }),
    })
}

pub(super) fn model_statistics(
    shared: &Shared,
    request: ModelStatisticsRequest,
) -> Result<ModelStatisticsResponse, Problem> {
    let models = if request.name.is_empty() {
        shared.models.all()
    } else {
        vec![lookup::find(shared, Some(&request.name), given(&request.version))?]
    };
    Ok(ModelStatisticsResponse {
        model_stats: models.iter().map(|served| statistics(served)).collect(),
    })
}

fn statistics(served: &Served) -> ModelStatistics {
    let totals = served.statistics().totals();
    let batch = |(size, total): (&usize, &Total)| InferBatchStatistics {
        batch_size: *size as u64,
        compute_input: duration(Total::default()),
        compute_infer: duration(*total),
        compute_output: duration(Total::default()),
    };
    ModelStatistics {
        name: served.name().to_owned(),
        version: served.version().to_owned(),
        last_inference: totals.last_success_ms(),
        inference_count: totals.inference.count,
        execution_count: totals.executions(),
        inference_stats: Some(InferStatistics {
            success: duration(totals.success),
            fail: duration(totals.fail),
            queue: duration(totals.queue),
            compute_input: duration(totals.prepare),
            compute_infer: duration(totals.inference),
            compute_output: duration(totals.output),
            cache_hit: duration(Total::default()),
            cache_miss: duration(Total::default()),
        }),
        batch_stats: totals.batches.iter().map(batch).collect(),
    }
}

fn duration(total: Total) -> Option<StatisticDuration> {
    Some(StatisticDuration {
        count: total.count,
        ns: total.nanoseconds(),
    })
}

pub(super) fn repository_index(
    shared: &Shared,
    request: RepositoryIndexRequest,
) -> Result<RepositoryIndexResponse, Problem> {
    let entries = shared.repository.as_ref().map(Repository::index).unwrap_or_default();
    let index = entries
        .into_iter()
        .filter(|entry| !request.ready || entry.state == READY)
        .map(|entry| ModelIndex {
            name: entry.name,
            version: entry.version,
            state: entry.state.to_owned(),
            reason: entry.reason,
        });
    Ok(RepositoryIndexResponse {
        models: index.collect(),
    })
}
