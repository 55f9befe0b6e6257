//! Why a linear region stays as it is. Every refusal in a report carries one of these.

use serde::{Deserialize, Serialize};

/// Why branches were not merged or an operator was not folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "code", content = "detail")]
pub enum Reason {
    /// A shift stands before a zero-padded window: outside the image the graph reads zeros, the merged convolution would read the shift.
    #[error("a shift (bias or batch normalization) stands before a zero-padded window, so the border would differ")]
    ShiftBeforePadding,
    /// A k×k map stands before a padded window: outside the image the graph reads zeros, the merged convolution would not.
    #[error("a k×k map stands before a padded window, so the border would differ")]
    WindowBeforePadding,
    /// The padding value is not what the map before it makes of zeros.
    #[error("the padding is not what the map before it makes of zeros, so the border would differ")]
    PaddingValue,
    /// Branches of different stride.
    #[error("the branches have unequal strides")]
    UnequalStrides,
    /// Branches whose outputs have different sizes for some inputs.
    #[error("the branches' outputs need not have the same size")]
    UnequalSizes,
    /// A sum that broadcasts one branch over another.
    #[error("the sum broadcasts a branch of {0} channels over one of {1}")]
    Broadcast(usize, usize),
    /// `auto_pad` that depends on an image size that the file does not give.
    #[error("auto_pad depends on an image size that the graph does not fix")]
    AutoPad,
    /// An average pool that leaves the padding out of its count.
    #[error("a padded average pool does not count its padding (count_include_pad = 0)")]
    PoolCount,
    /// A pool whose output size is rounded up.
    #[error("ceil_mode rounds the output size up")]
    CeilMode,
    /// Weights that are not constants.
    #[error("the weights of this {0} are not constant")]
    DynamicWeights(String),
    /// Batch normalization or dropout in training mode.
    #[error("{0} is in training mode")]
    TrainingMode(String),
    /// A pad mode other than constant.
    #[error("padding of mode {0:?} is not linear in zeros")]
    PadMode(String),
    /// An inner value is read outside the block.
    #[error("the inner value {0:?} is used elsewhere")]
    UsedElsewhere(String),
    /// An inner value is an output of the graph.
    #[error("the inner value {0:?} is an output of the graph")]
    GraphOutput(String),
    /// An operator that is not linear.
    #[error("{0} inside a branch is not linear")]
    NotLinear(String),
    /// Quantization inside a branch.
    #[error("{0} inside a branch rounds its values")]
    Quantized(String),
    /// A constant operand that is not one number a channel.
    #[error("the constant operand of this {0} is not one number a channel")]
    NotPerChannel(String),
    /// An operator whose attributes or shapes are not understood.
    #[error("this {0} has attributes or shapes that are not understood")]
    NotUnderstood(String),
    /// Weights of several element types.
    #[error("the weights have different element types")]
    MixedTypes,
    /// Weights that are infinite or not a number after folding.
    #[error("the folded weights are not finite")]
    NotFinite,
    /// Fused, the graph returned something else.
    #[error("fused, the graph differs from the train-time graph: {0}")]
    Differs(String),
    /// The merged convolution would cost more than its parts.
    #[error("the merged convolution would need {after} multiplications an output for {before}")]
    Costly {
        /// Multiplications per pixel of the source in the branches.
        before: u64,
        /// Multiplications per pixel of the source in the merged convolution.
        after: u64,
    },
}
