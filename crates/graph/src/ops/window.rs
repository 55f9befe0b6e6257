//! The sliding window of convolutions and pools.

use super::error::OperatorError;
use super::view::EXTENT_MAX;
use super::view::NodeView;

/// Which side of an odd `auto_pad` gets the extra zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamePadding {
    /// The end (`SAME_UPPER`).
    Upper,
    /// The beginning (`SAME_LOWER`).
    Lower,
}

/// A sliding window, an entry an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: Vec<usize>,
    /// Distance of neighbouring outputs.
    pub strides: Vec<usize>,
    /// Distance of neighbouring taps.
    pub dilations: Vec<usize>,
    /// Zeros in front.
    pub begins: Vec<usize>,
    /// Zeros behind.
    pub ends: Vec<usize>,
    /// `auto_pad` that depends on extents that are not known; `begins` and `ends` are then 0.
    pub auto: Option<SamePadding>,
}

/// A window over an image, whose pads are all known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageWindow {
    /// Rows and columns of taps.
    pub kernel: [usize; 2],
    /// Distance of neighbouring outputs: rows, columns.
    pub strides: [usize; 2],
    /// Distance of neighbouring taps: rows, columns.
    pub dilations: [usize; 2],
    /// Zeros: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Window {
    /// A single tap of stride 1.
    pub fn pointwise(rank: usize) -> Self {
        Self {
            kernel: vec![1; rank],
            strides: vec![1; rank],
            dilations: vec![1; rank],
            begins: vec![0; rank],
            ends: vec![0; rank],
            auto: None,
        }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Whether the window reads past the image.
    pub fn is_padded(&self) -> bool {
        self.auto.is_some() || self.begins.iter().chain(&self.ends).any(|p| *p > 0)
    }

    /// How many places of `axis` the window has over `extent` pixels, and how many pixels are left over behind the last one;
    /// `None` where it does not fit in.
    pub fn places(&self, axis: usize, extent: usize) -> Option<(usize, usize)> {
        let stride = self.strides[axis];
        if self.auto.is_some() {
            return Some((extent.div_ceil(stride), 0));
        }
        let padded = extent.checked_add(self.begins[axis])?.checked_add(self.ends[axis])?;
        let free = padded.checked_sub(self.reach(axis) + 1)?;
        Some((free / stride + 1, free % stride))
    }

    /// The window over an image.
    ///
    /// # Errors
    /// Where it is not one of two axes, or its pads are not known.
    pub fn over_image(&self) -> Result<ImageWindow, OperatorError> {
        if self.auto.is_some() {
            return Err(OperatorError::AutoPad);
        }
        let two = |list: &[usize]| <[usize; 2]>::try_from(list).map_err(|_| OperatorError::Shape("the window"));
        let ([top, left], [bottom, right]) = (two(&self.begins)?, two(&self.ends)?);
        Ok(ImageWindow {
            kernel: two(&self.kernel)?,
            strides: two(&self.strides)?,
            dilations: two(&self.dilations)?,
            pads: [top, left, bottom, right],
        })
    }

    /// Distance of the first and the last tap.
    fn reach(&self, axis: usize) -> usize {
        self.dilations[axis] * (self.kernel[axis] - 1)
    }

    /// The window of a node: `kernel` its taps, `extents` those of the image, where known.
    pub(super) fn of(
        view: &NodeView<'_>,
        kernel: Vec<usize>,
        extents: Option<&[Option<usize>]>,
    ) -> Result<Self, OperatorError> {
        let rank = kernel.len();
        if kernel.iter().any(|k| *k == 0 || *k as i64 > EXTENT_MAX) {
            return Err(OperatorError::Shape("the kernel"));
        }
        let pads = view.extents("pads", 2 * rank, 0, 0)?;
        let mut window = Self {
            kernel,
            strides: view.extents("strides", rank, 1, 1)?,
            dilations: view.extents("dilations", rank, 1, 1)?,
            ..Self::pointwise(rank)
        };
        match view.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => {
                window.begins = pads[..rank].to_vec();
                window.ends = pads[rank..].to_vec();
            }
            "VALID" => {}
            "SAME_UPPER" => window.pad_same(extents, SamePadding::Upper),
            "SAME_LOWER" => window.pad_same(extents, SamePadding::Lower),
            _ => {
                return Err(OperatorError::Attribute {
                    name: "auto_pad",
                    expected: "NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                });
            }
        }
        Ok(window)
    }

    /// Works out the pads that `auto_pad` stands for, where they do not depend on an extent that is not known.
    fn pad_same(&mut self, extents: Option<&[Option<usize>]>, same: SamePadding) {
        for axis in 0..self.kernel.len() {
            let (stride, reach) = (self.strides[axis], self.reach(axis));
            let known = extents.and_then(|e| e.get(axis).copied().flatten());
            let total = match known {
                _ if reach == 0 => 0,
                _ if stride == 1 => reach,
                Some(n) if n > 0 => ((n.div_ceil(stride) - 1) * stride + reach + 1).saturating_sub(n),
                _ => {
                    self.auto = Some(same);
                    0
                }
            };
            let less = total / 2;
            (self.begins[axis], self.ends[axis]) = match same {
                SamePadding::Upper => (less, total - less),
                SamePadding::Lower => (total - less, less),
            };
        }
        if self.auto.is_some() {
            self.begins.fill(0);
            self.ends.fill(0);
        }
    }
}
