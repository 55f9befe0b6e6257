//! The Open Inference Protocol, version 2, without a wire format: what `v2` (JSON and raw bytes over HTTP) and `grpc` (protobuf) share.
//!
//! A wire format makes an [`InputTensor`] of what it received, within the [`InferLimits`]; [`input`] makes images of it, [`run`] runs them
//! within their deadline, [`output`] makes the output tensors. [`about`] describes a model. [`tensor`] is the raw form of tensors.

mod about;
mod error;
mod input;
mod limits;
mod output;
mod ready;
mod request;
mod run;
pub(in crate::http) mod tensor;

pub(in crate::http) use about::{Configuration, EXTENSIONS, OutputDims, PLATFORM, outputs};
pub(in crate::http) use error::RequestError;
pub(in crate::http) use input::{DataContent, InputContent, InputTensor};
pub(in crate::http) use limits::{InferLimits, RANK_MAX};
pub(in crate::http) use output::{Elements, ModelOutput, OutputTensor};
pub(in crate::http) use ready::ready;
pub(in crate::http) use request::{
    InferRequest, OutputOptions, OutputSource, check_outputs, outputs_max, priority, too_many_outputs,
};
pub(in crate::http) use run::{Ran, RunContext};
pub(in crate::http) use tensor::Datatype;
