//! What a caller may ask for besides fusing.

use std::collections::BTreeSet;

use repserve_graph::onnx::ExternalData;

/// What to do besides fusing.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The one output to keep; what only the others need is removed. All of them where `None`.
    pub output: Option<String>,
    /// Outputs to keep beside that one, where the graph has them.
    pub further: Vec<String>,
    /// Where weights that lie beside the file may be read from.
    pub external: ExternalData,
    /// Whether the graph is verified after every pass, and not only at the end: an error then names the pass.
    pub verify_passes: bool,
    /// What is left as it is, though it could be fused.
    pub unfused: Unfused,
}

/// What is left as it is, though it could be fused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unfused {
    /// Nothing.
    #[default]
    Nothing,
    /// The blocks that make the values of these names.
    Blocks(BTreeSet<String>),
    /// The whole graph: only the output is chosen.
    All,
}

impl Unfused {
    /// Whether the block that makes the value `name` stays as it is.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Blocks(names) => names.contains(name),
            Self::All => true,
        }
    }
}
