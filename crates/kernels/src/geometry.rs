//! What a layer is: geometry, algorithms, and which of them computes what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::vector::Isa;

/// Zeros on one side of an input at most: they are written out in work space, for which a model's file should not decide without bound.
const PAD_MAX: usize = 65535;

/// What a layer computes, without its weights: a cross-correlation as ONNX `Conv` defines it, dilation 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Convolution {
    /// Channels of the input, all groups together.
    pub in_channels: usize,
    /// Channels of the output, all groups together.
    pub out_channels: usize,
    /// Groups; channels are split evenly among them.
    pub groups: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step between outputs, rows and columns.
    pub strides: [usize; 2],
    /// Zeros around the input: top, left, bottom, right (ONNX's order).
    pub pads: [usize; 4],
    /// Whether negative outputs become 0 (after bias and residual).
    pub relu: bool,
}

impl Convolution {
    /// Rows and columns of the output for an input of `height` by `width`, or `None` where the kernel does not fit.
    pub fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let axis = |size: usize, a: usize| {
            let padded = size.checked_add(self.pads[a])?.checked_add(self.pads[a + 2])?;
            let steps = padded.checked_sub(self.kernel[a])?.checked_div(self.strides[a])?;
            steps.checked_add(1)
        };
        Some((axis(height, 0)?, axis(width, 1)?))
    }

    /// Multiplications of the direct algorithm for one image whose output is `height` by `width`; `usize::MAX` where there are more than
    /// can be counted.
    pub fn multiplications(&self, height: usize, width: usize) -> usize {
        let [kh, kw] = self.kernel;
        product([height, width, self.out_channels, self.in_channels / self.groups, kh, kw])
    }
}

/// How a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Winograd's F(4x4,3x3): 36 products for 16 outputs, a quarter of direct.
    WinogradF4,
    /// Winograd's F(2x2,3x3): 16 products for 4 outputs, 4/9 of direct; for small maps and where weights come from memory.
    WinogradF2,
    /// The sum as it is written; any kernel size and stride.
    Direct,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::WinogradF4 => "winograd-f4x4",
            Algorithm::WinogradF2 => "winograd-f2x2",
            Algorithm::Direct => "direct",
        })
    }
}

/// How the input of a layer lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceLayout {
    /// `[N, ⌈C/B⌉, H, W, B]`, `B` being [`Isa::lanes`].
    Blocked,
    /// `[N, C, H, W]`; for [`Algorithm::Direct`] only, so that a network's first layer needs no conversion.
    Nchw,
}

/// Why a layer cannot be prepared or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The algorithm does not compute this layer.
    #[error("{algorithm} does not compute {what}")]
    Unsupported {
        /// The algorithm that was requested.
        algorithm: Algorithm,
        /// The property that it lacks.
        what: &'static str,
    },
    /// The geometry contradicts itself.
    #[error("a convolution with {0} is impossible")]
    Geometry(&'static str),
    /// A slice does not have the length that the geometry asks for.
    #[error("{what} holds {found} values where the layer needs {needed}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Values that it holds.
        found: usize,
        /// Values that the layer needs.
        needed: usize,
    },
    /// Bytes that are not aligned as numbers are, or cut off within one.
    #[error("the bytes of {0} are not aligned, or cut off")]
    Unaligned(&'static str),
    /// Work space, or prepared weights, of more bytes than can be addressed.
    #[error("the layer needs more memory than can be addressed")]
    TooLarge,
    /// The input is smaller than the kernel.
    #[error("an input of {height}x{width} is smaller than the kernel")]
    TooSmall {
        /// Rows of the input.
        height: usize,
        /// Columns of the input.
        width: usize,
    },
}

/// Whether an algorithm computes a layer with an instruction set.
///
/// # Errors
/// Says which property is missing.
pub fn supports(conv: &Convolution, algorithm: Algorithm, layout: SourceLayout, isa: Isa) -> Result<(), KernelError> {
    consistent(conv)?;
    let unsupported = |what| Err(KernelError::Unsupported { algorithm, what });
    let uneven = |channels: usize| !(channels / conv.groups).is_multiple_of(isa.lanes());
    if conv.groups > 1 && (uneven(conv.out_channels) || layout == SourceLayout::Blocked && uneven(conv.in_channels)) {
        return unsupported("groups whose channels are no multiple of the vector width");
    }
    if algorithm == Algorithm::Direct {
        return Ok(());
    }
    if layout == SourceLayout::Nchw {
        return unsupported("an NCHW input");
    }
    if conv.kernel != [3, 3] || conv.strides != [1, 1] {
        return unsupported("anything but 3x3 at stride 1");
    }
    Ok(())
}

/// Whether a geometry contradicts itself, whichever algorithm computes it.
pub(super) fn consistent(conv: &Convolution) -> Result<(), KernelError> {
    if conv.groups == 0 || conv.in_channels == 0 || conv.out_channels == 0 {
        return Err(KernelError::Geometry("no groups or no channels"));
    }
    if !conv.in_channels.is_multiple_of(conv.groups) || !conv.out_channels.is_multiple_of(conv.groups) {
        return Err(KernelError::Geometry("channels that its groups do not divide"));
    }
    if conv.kernel.contains(&0) || conv.strides.contains(&0) {
        return Err(KernelError::Geometry("a kernel or stride of 0"));
    }
    if conv.pads.iter().any(|pad| *pad > PAD_MAX) {
        return Err(KernelError::Geometry("a padding of more than 65535"));
    }
    Ok(())
}

/// The product of counts; `usize::MAX`, which is no slice's length, where it is more than can be counted.
pub(super) fn product<const N: usize>(counts: [usize; N]) -> usize {
    counts.into_iter().fold(1, usize::saturating_mul)
}

/// `len`, where that many values of `bytes` bytes can be addressed.
///
/// # Errors
/// Where they cannot.
pub(super) fn addressable(len: usize, bytes: usize) -> Result<usize, KernelError> {
    if len.saturating_mul(bytes) <= isize::MAX as usize {
        Ok(len)
    } else {
        Err(KernelError::TooLarge)
    }
}

/// Whether a slice has the length that the geometry asks for.
///
/// # Errors
/// Where it has not.
pub(super) fn check_length(what: &'static str, found: usize, needed: usize) -> Result<(), KernelError> {
    if found == needed {
        Ok(())
    } else {
        Err(KernelError::Length { what, found, needed })
    }
}
