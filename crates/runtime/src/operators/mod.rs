//! The operators of the domain `repserve`, as ONNX Runtime calls them, and the layers that they run.

mod blocked;
mod int8;

pub(super) use int8::Int8Op;

use std::fmt;
use std::sync::Arc;

use ort::operator::{ComputeContext, KernelContext, OperatorDomain};

use repserve_graph::{Node, ValueId};
use repserve_kernels::{Executor, Isa, PreparedConv, PreparedInt8Conv, Sequential};

/// The domain of the operators.
pub(super) const DOMAIN: &str = "repserve";

/// The layers that the operators of a lowered model run, each kind in the order of its nodes' attribute `layer`. Cloning shares them.
#[derive(Clone, Default)]
pub struct Layers {
    blocked: Arc<Vec<Arc<PreparedConv>>>,
    int8: Arc<Vec<PreparedInt8Conv>>,
}

/// What of an int8 model the server's own kernels compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Int8Kernels {
    /// Convolutions and linear layers.
    pub layers: usize,
    /// Bytes of their prepared weights, which all sessions share.
    pub weight_bytes: usize,
    /// The instructions that multiply.
    pub instruction_set: &'static str,
}

impl Layers {
    /// Layers of f32, for `BlockedConv` and `BlockedConvAdd`.
    pub(super) fn blocked(layers: Vec<Arc<PreparedConv>>) -> Self {
        Self {
            blocked: Arc::new(layers),
            ..Self::default()
        }
    }

    /// These and layers of 8-bit codes, for `Int8Conv` and `Int8Gemm`.
    pub(super) fn with_int8(self, layers: Vec<PreparedInt8Conv>) -> Self {
        Self {
            int8: Arc::new(layers),
            ..self
        }
    }

    /// How many layers were lowered.
    pub fn len(&self) -> usize {
        self.blocked.len() + self.int8.len()
    }

    /// Whether the model is left to ONNX Runtime as a whole.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all prepared weights, which the sessions of a pool share.
    pub fn bytes(&self) -> usize {
        let blocked = self.blocked.iter().map(|l| l.bytes());
        blocked.chain(self.int8.iter().map(PreparedInt8Conv::bytes)).sum()
    }

    /// What there is of int8; `None` where there is nothing.
    pub(super) fn int8_kernels(&self) -> Option<Int8Kernels> {
        let first = self.int8.first()?;
        Some(Int8Kernels {
            layers: self.int8.len(),
            weight_bytes: self.int8.iter().map(PreparedInt8Conv::bytes).sum(),
            instruction_set: first.isa().name(),
        })
    }

    /// The operators for a session of `threads` threads.
    pub(super) fn domain(&self, threads: usize) -> ort::Result<OperatorDomain> {
        use blocked::{Conversion, Kind};
        let threads = threads.max(1);
        let lanes = self
            .blocked
            .first()
            .map_or_else(|| Isa::detect().lanes(), |l| l.isa().lanes());
        let conv = |residual| blocked::ConvOperator {
            layers: Arc::clone(&self.blocked),
            threads,
            residual,
        };
        let conversion = |kind| Conversion { kind, lanes };
        let int8 = |op| int8::Int8Operator {
            op,
            layers: Arc::clone(&self.int8),
            threads,
        };
        OperatorDomain::new(DOMAIN)?
            .add(conv(false))?
            .add(conv(true))?
            .add(conversion(Kind::Enter))?
            .add(conversion(Kind::Leave))?
            .add(conversion(Kind::Mean))?
            .add(int8(Int8Op::Conv))?
            .add(int8(Int8Op::Gemm))
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({}, {} bytes)", self.len(), self.bytes())
    }
}

/// A node of the domain.
pub(super) fn operator(op: &str, name: String, inputs: Vec<ValueId>, output: ValueId) -> Node {
    Node {
        name,
        domain: DOMAIN.to_owned(),
        ..Node::new(op, inputs, vec![output])
    }
}

/// Which of `count` layers a node's attribute `layer` names.
fn layer_of(context: &KernelContext<'_>, count: usize) -> ort::Result<usize> {
    let index = context.get::<i64>("layer").and_then(|i| usize::try_from(i).ok());
    index.filter(|i| *i < count).ok_or_else(|| failed("no such layer"))
}

/// Extents of a tensor as ONNX Runtime gives them.
fn extents<const N: usize>(shape: [i64; N]) -> ort::Result<[usize; N]> {
    let mut extents = [0; N];
    for (to, from) in extents.iter_mut().zip(shape) {
        *to = usize::try_from(from).map_err(|_| failed(format!("a tensor of shape {shape:?}")))?;
    }
    Ok(extents)
}

fn failed(what: impl fmt::Display) -> ort::Error {
    ort::Error::new(what.to_string())
}

/// Runs tasks on the session's own intra-operator threads.
struct OnPool<'a> {
    context: &'a ComputeContext,
    threads: usize,
}

impl Executor for OnPool<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // As many batches as tasks, so that a thread that is done takes the next; fewer would share tasks out beforehand. Tasks may
        // run again: they write the same values.
        if tasks < 2 || self.threads < 2 || self.context.par_for(tasks, tasks, task).is_err() {
            Sequential.run(tasks, task);
        }
    }
}
