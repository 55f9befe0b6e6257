//! The `[input]` table of a model's `model.toml`.

use serde::{Deserialize, Serialize};

/// How pixels between pixels are made. All but `Nearest` antialias when they shrink, as Pillow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// A triangle of radius 1.
    #[default]
    Bilinear,
    /// The cubic of radius 2 with a = -0.5.
    Bicubic,
    /// Lanczos of radius 3.
    Lanczos,
}

/// What a network expects at its input, as `model.toml` says it under `[input]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Height and width of the network's input, in pixels.
    pub size: [u32; 2],
    /// The short side before the centre crop, in pixels. Absent: the image is resized straight to `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// How to resample.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Mean of R, G, B in 0..1, subtracted from the pixels divided by 255.
    pub mean: [f32; 3],
    /// Standard deviation of R, G, B, by which the difference is divided.
    pub std: [f32; 3],
}

/// An impossible value in [`InputSpec`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("input.{key} = {value}: {expected}")]
pub struct SpecError {
    /// The key within `[input]`.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What is possible.
    pub expected: &'static str,
}

/// The largest side of a network's input and of the resized image's short side, in pixels.
pub(crate) const TARGET_MAX: u32 = 4096;

impl InputSpec {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first impossible value and what is possible.
    pub fn validate(&self) -> Result<(), SpecError> {
        let side = 1..=TARGET_MAX;
        let err = |key, value, expected| Err(SpecError { key, value, expected });
        if !self.size.iter().all(|length| side.contains(length)) {
            return err(
                "size",
                format!("{:?}", self.size),
                "height and width must be 1 to 4096 pixels",
            );
        }
        if let Some(resize) = self.resize.filter(|length| !side.contains(length)) {
            return err("resize", resize.to_string(), "the short side must be 1 to 4096 pixels");
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return err("mean", format!("{:?}", self.mean), "the three means must be finite");
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return err(
                "std",
                format!("{:?}", self.std),
                "the three standard deviations must be positive",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "size = [32, 32]\nresize = 32\ninterpolation = \"bilinear\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]\n";

    fn check(from: &str, to: &str, message: &str) {
        let spec: InputSpec = toml::from_str(&GOOD.replace(from, to)).unwrap();
        assert_eq!(spec.validate().unwrap_err().to_string(), message);
    }

    #[test]
    fn a_good_spec_passes_and_prints_itself() {
        let spec: InputSpec = toml::from_str(GOOD).unwrap();
        assert_eq!(spec.validate(), Ok(()));
        assert_eq!(
            toml::from_str::<InputSpec>(&toml::to_string(&spec).unwrap()).unwrap(),
            spec
        );
    }

    #[test]
    fn impossible_values_name_their_key() {
        check(
            "[32, 32]",
            "[32, 0]",
            "input.size = [32, 0]: height and width must be 1 to 4096 pixels",
        );
        check(
            "resize = 32",
            "resize = 9999",
            "input.resize = 9999: the short side must be 1 to 4096 pixels",
        );
        check(
            "mean = [0.5,",
            "mean = [nan,",
            "input.mean = [NaN, 0.5, 0.5]: the three means must be finite",
        );
        check(
            "std = [0.2,",
            "std = [0.0,",
            "input.std = [0.0, 0.2, 0.2]: the three standard deviations must be positive",
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = GOOD.replace("resize", "rezise");
        assert!(
            toml::from_str::<InputSpec>(&text)
                .unwrap_err()
                .to_string()
                .contains("rezise")
        );
    }
}
