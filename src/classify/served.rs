//! One model as it is served.

use crate::batch::{Deadline, Outcome, Rejected, Work};
use crate::image::ImageError;
use crate::model::OutputKind;
use bytes::Bytes;

use super::{Signature, Tensor};

#[derive(Debug)]
pub(super) struct Batcher;
impl Batcher {
    #[allow(clippy::type_complexity)]
    pub(super) fn submit(
        &self,
        _w: Vec<Work<Bytes, Tensor>>,
        _d: Deadline,
    ) -> Result<std::future::Ready<Vec<Outcome<Vec<f32>, ImageError>>>, Rejected> {
        Err(Rejected::Draining)
    }
}

/// How busy a model is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Images that wait.
    pub queued: usize,
    /// Sessions that run.
    pub sessions_busy: usize,
    /// Sessions that wait for work.
    pub sessions_idle: usize,
}

impl Load {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            queued: self.queued + other.queued,
            sessions_busy: self.sessions_busy + other.sessions_busy,
            sessions_idle: self.sessions_idle + other.sessions_idle,
        }
    }
}

/// One model as it is served: what it is called, what its classes are called, and the scheduler that runs it.
#[derive(Debug)]
pub struct Served {
    name: String,
    version: String,
    labels: Vec<String>,
    output_kind: OutputKind,
    signature: Signature,
    batcher: Batcher,
}

impl Served {
    /// By which it is found.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version of it this is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The label of a class; the index as text where there is none.
    pub fn label(&self, index: usize) -> &str {
        self.labels.get(index).map_or("", String::as_str)
    }

    /// What its output holds.
    pub fn output_kind(&self) -> OutputKind {
        self.output_kind
    }

    /// What goes in and what comes out.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What is to be known of it beyond the protocol's metadata.
    pub fn card(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    pub(super) fn batcher(&self) -> &Batcher {
        &self.batcher
    }
    /// How busy it is.
    pub fn load(&self) -> Load {
        Load::default()
    }
    /// Ends what waits.
    pub fn abort(&self) {}
}
