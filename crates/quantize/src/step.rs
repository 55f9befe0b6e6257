//! The steps of a calibration that can be left out, to measure what each gives.

use std::fmt::{Display, Formatter, Result};

/// A step of the calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Channels are made even across layers. Without it none is scaled.
    Equalization,
    /// Ranges minimise an error. Without it they reach from the smallest value to the largest.
    Ranges,
    /// Weights are rounded by what the layer sees. Without it each is rounded to the nearest value.
    Rounding,
    /// Biases make up for the mean error of rounded weights. Without it they stay as they are.
    Bias,
    /// Residual sums and means of pixels are computed on quantized values. Without it in f32.
    Sums,
    /// Where int8 falls short of the wanted agreement, depthwise convolutions compute in f32. Without it no weights or values have 16 bits either.
    Finer,
    /// There, some output channels have weights of 16 bits.
    Weights16,
    /// There, some values have 16 bits.
    Values16,
}

impl Step {
    /// All, in the order in which they are taken.
    pub const ALL: [Self; 8] = [
        Self::Equalization,
        Self::Ranges,
        Self::Rounding,
        Self::Bias,
        Self::Sums,
        Self::Finer,
        Self::Weights16,
        Self::Values16,
    ];

    /// As it is written on the command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Equalization => "equalization",
            Self::Ranges => "ranges",
            Self::Rounding => "rounding",
            Self::Bias => "bias",
            Self::Sums => "sums",
            Self::Finer => "finer",
            Self::Weights16 => "weights-16",
            Self::Values16 => "values-16",
        }
    }

    /// The step of this name.
    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.label() == label)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_its_name() {
        for step in Step::ALL {
            assert_eq!(Step::named(&step.to_string()), Some(step));
        }
        assert_eq!(Step::named("all"), None);
    }
}
