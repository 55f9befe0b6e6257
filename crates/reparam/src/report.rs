//! What was done to a model, in numbers and words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::reason::Reason;

/// What the re-parameterizer did to one model, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The graph as it was read.
    pub source: GraphStats,
    /// The graph as it is written.
    pub deploy: GraphStats,
    /// What was fused, in graph order.
    pub blocks: Vec<Block>,
    /// What was left as it is, and why.
    pub refusals: Vec<Refusal>,
    /// What a reader should know besides.
    pub warnings: Vec<String>,
}

/// Size and work of one graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphStats {
    /// SHA-256 of the file's bytes, in hexadecimal; external data is not part of it.
    pub sha256: String,
    /// Nodes by operator.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all floating-point constants, batch-normalization statistics included.
    pub parameters: usize,
    /// Multiplications of convolutions and matrix products for one image, where all shapes are known.
    pub macs: Option<u64>,
}

/// Size and work of one layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LayerStats {
    /// The value that it returns.
    pub output: String,
    /// Its operator.
    pub operator: String,
    /// Elements of its floating-point constants.
    pub parameters: usize,
    /// Multiplications for one image; `None` where a shape is unknown.
    pub macs: Option<u64>,
}

/// How a region became one convolution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// One convolution took up scales, shifts and borders around it.
    #[default]
    Folded,
    /// Parallel branches were summed.
    Parallel,
    /// Convolutions in a row were multiplied out.
    Serial,
}

/// One region that was fused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The value it makes; the same name in both graphs.
    pub output: String,
    /// The value it reads.
    pub source: String,
    /// How.
    pub kind: BlockKind,
    /// Its branches, in words.
    pub branches: String,
    /// The nodes it replaced, in graph order: their names, or operator and output.
    pub nodes: Vec<String>,
    /// The convolution it became.
    pub conv: ConvShape,
}

/// Shape of a convolution; no axes for a matrix product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvShape {
    /// Channels it reads.
    pub in_channels: usize,
    /// Channels it makes.
    pub out_channels: usize,
    /// Groups.
    pub groups: usize,
    /// Taps, an axis each.
    pub kernel: Vec<usize>,
    /// Strides.
    pub strides: Vec<usize>,
    /// Dilations.
    pub dilations: Vec<usize>,
    /// Zeros in front, then behind.
    pub pads: Vec<usize>,
}

/// Something that looks like a block and stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The value that the block makes.
    pub block: String,
    /// Why it stays.
    pub reason: Reason,
    /// The node that shows it, then the others of the block.
    pub nodes: Vec<String>,
}

impl GraphStats {
    /// How many nodes of operator `op` there are.
    pub fn count(&self, op: &str) -> usize {
        self.operators.get(op).copied().unwrap_or(0)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.operators.values().sum()
    }
}

impl Report {
    /// How many blocks of each kind were fused.
    pub fn by_kind(&self) -> BTreeMap<BlockKind, usize> {
        let mut counts = BTreeMap::new();
        for block in &self.blocks {
            *counts.entry(block.kind).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folded => "folded",
            Self::Parallel => "parallel",
            Self::Serial => "serial",
        })
    }
}

impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.in_channels, self.out_channels)?;
        if self.kernel.is_empty() {
            return Ok(());
        }
        let axes = |list: &[usize]| list.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        write!(f, ", {}, stride {}", axes(&self.kernel), axes(&self.strides))?;
        if self.dilations.iter().any(|d| *d != 1) {
            write!(f, ", dilation {}", axes(&self.dilations))?;
        }
        if self.groups != 1 {
            write!(f, ", {} groups", self.groups)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (&self.source, &self.deploy);
        writeln!(f, "nodes         {:>12} → {}", a.nodes(), b.nodes())?;
        writeln!(f, "convolutions  {:>12} → {}", a.count("Conv"), b.count("Conv"))?;
        writeln!(f, "parameters    {:>12} → {}", a.parameters, b.parameters)?;
        if let (Some(a), Some(b)) = (a.macs, b.macs) {
            writeln!(f, "multiply-adds {a:>12} → {b}")?;
        }
        writeln!(f, "sha256        {} → {}", a.sha256, b.sha256)?;
        let kinds: Vec<String> = self.by_kind().iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        writeln!(f, "blocks fused  {:>12}   {}", self.blocks.len(), kinds.join(", "))?;
        for block in &self.blocks {
            writeln!(
                f,
                "  {}: {} = {} ({})",
                block.output, block.kind, block.branches, block.conv
            )?;
        }
        if !self.refusals.is_empty() {
            writeln!(f, "left as it is {:>12}", self.refusals.len())?;
        }
        for refusal in &self.refusals {
            writeln!(
                f,
                "  {}: {} [{}]",
                refusal.block,
                refusal.reason,
                refusal.nodes.join(", ")
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
