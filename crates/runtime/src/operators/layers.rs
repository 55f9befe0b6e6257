//! The layers that operators run.

use std::fmt;
use std::sync::Arc;

use ort::operator::OperatorDomain;

use super::DOMAIN;
use super::blocked;
use super::int8::{self, Int8Op};
use super::quantize::EnterOperator;
use repserve_kernels::{Int8Isa, Isa, PreparedConv, PreparedInt8Conv};

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
    pub(crate) fn blocked(layers: Vec<Arc<PreparedConv>>) -> Self {
        Self {
            blocked: Arc::new(layers),
            ..Self::default()
        }
    }

    /// These and layers of 8-bit quantized values, for `Int8Conv`, `Int8ConvAdd`, `Int8Gemm` and `Int8Chain`.
    pub(crate) fn with_int8(self, layers: Vec<PreparedInt8Conv>) -> Self {
        Self {
            int8: Arc::new(layers),
            ..self
        }
    }

    /// The layers of f32.
    pub(crate) fn f32(&self) -> &[Arc<PreparedConv>] {
        &self.blocked
    }

    /// The layers of quantized values.
    pub(crate) fn int8(&self) -> &[PreparedInt8Conv] {
        &self.int8
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
    pub(crate) fn int8_kernels(&self) -> Option<Int8Kernels> {
        let first = self.int8.first()?;
        Some(Int8Kernels {
            layers: self.int8.len(),
            weight_bytes: self.int8.iter().map(PreparedInt8Conv::bytes).sum(),
            instruction_set: first.isa().name(),
        })
    }

    /// The operators for a session of `threads` threads.
    pub(crate) fn domain(&self, threads: usize) -> ort::Result<OperatorDomain> {
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
        let conversion = |kind| blocked::Conversion { kind, lanes };
        let int8 = |op| int8::Int8Operator {
            op,
            layers: Arc::clone(&self.int8),
            threads,
        };
        let isa = self.int8.first().map(PreparedInt8Conv::isa);
        let enter = EnterOperator {
            isa: isa.unwrap_or_else(Int8Isa::plain),
            threads,
        };
        OperatorDomain::new(DOMAIN)?
            .add(conv(false))?
            .add(conv(true))?
            .add(conversion(blocked::Kind::Enter))?
            .add(conversion(blocked::Kind::Leave))?
            .add(conversion(blocked::Kind::Mean))?
            .add(int8(Int8Op::Conv))?
            .add(int8(Int8Op::ConvAdd))?
            .add(int8(Int8Op::Gemm))?
            .add(int8(Int8Op::Chain))?
            .add(enter)
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({}, {} bytes)", self.len(), self.bytes())
    }
}
