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
    /// What a pixel's bytes are divided by first: 255, or 1 where mean and std are given in 0..255.
    #[serde(default = "scale_of_bytes", skip_serializing_if = "is_scale_of_bytes")]
    pub scale: f32,
    /// Mean of R, G, B, subtracted from the pixels divided by `scale`.
    pub mean: [f32; 3],
    /// Standard deviation of R, G, B, by which the difference is divided.
    pub std: [f32; 3],
}

/// The largest value of a byte: divided by it, pixels are in 0..1.
pub const BYTE_MAX: f32 = 255.0;

fn scale_of_bytes() -> f32 {
    BYTE_MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_scale_of_bytes(scale: &f32) -> bool {
    *scale == BYTE_MAX
}

/// Something in [`InputSpec`] that is possible and probably not meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecWarning {
    /// The crop is larger than what it is cut from.
    #[error(
        "input.resize = {resize} is less than input.size = {size:?}: what the resized image leaves of the size is filled with black; \
         raise input.resize to {} or more, or leave it out", size[0].max(size[1])
    )]
    Border {
        /// The short side before the crop, in pixels.
        resize: u32,
        /// Height and width of the network's input, in pixels.
        size: [u32; 2],
    },
    /// Mean or standard deviation lie far outside of what divided pixels can be.
    #[error(
        "input.mean = {mean:?} and input.std = {std:?} look like levels of 0..255, and pixels are divided by input.scale = {scale}: \
         set input.scale = 1, or divide both by 255"
    )]
    Levels {
        /// The means.
        mean: [f32; 3],
        /// The standard deviations.
        std: [f32; 3],
        /// What bytes are divided by.
        scale: f32,
    },
    /// Pixels are not divided, and mean and standard deviation are of divided ones.
    #[error(
        "input.mean = {mean:?} and input.std = {std:?} look like numbers of 0..1, and pixels are divided by input.scale = {scale} only: \
         leave out input.scale, which is 255 then"
    )]
    Undivided {
        /// The means.
        mean: [f32; 3],
        /// The standard deviations.
        std: [f32; 3],
        /// What bytes are divided by.
        scale: f32,
    },
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
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return err(
                "scale",
                self.scale.to_string(),
                "what bytes are divided by must be positive",
            );
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

    /// What is possible and probably not meant.
    pub fn warnings(&self) -> Vec<SpecWarning> {
        let Self {
            size,
            resize,
            scale,
            mean,
            std,
            ..
        } = *self;
        let border = resize
            .filter(|resize| *resize < size[0].max(size[1]))
            .map(|resize| SpecWarning::Border { resize, size });
        // What pixels are at most; no mean of pixels lies above it, and half of it is the largest deviation.
        let pixel_max = BYTE_MAX / scale;
        let above = |values: [f32; 3]| values.iter().any(|value| *value > pixel_max * 1.001);
        // Where everything is within 0..1 and pixels are not, nothing was scaled to fit.
        let within_one = |values: [f32; 3]| values.iter().all(|value| value.abs() <= 1.0);
        let neutral = mean == [0.0; 3] && std == [1.0; 3];
        let levels = if above(mean) || above(std) {
            Some(SpecWarning::Levels { mean, std, scale })
        } else if pixel_max > 2.0 && within_one(mean) && within_one(std) && !neutral {
            Some(SpecWarning::Undivided { mean, std, scale })
        } else {
            None
        };
        border.into_iter().chain(levels).collect()
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
            "resize = 32",
            "resize = 32\nscale = 0.0",
            "input.scale = 0: what bytes are divided by must be positive",
        );
        check(
            "std = [0.2,",
            "std = [0.0,",
            "input.std = [0.0, 0.2, 0.2]: the three standard deviations must be positive",
        );
    }

    #[test]
    fn what_is_probably_not_meant_is_said() {
        let check = |from: &str, to: &str, expected: &[&str]| {
            let spec: InputSpec = toml::from_str(&GOOD.replace(from, to)).unwrap();
            assert_eq!(spec.validate(), Ok(()));
            let warnings: Vec<String> = spec.warnings().iter().map(ToString::to_string).collect();
            let matches = warnings.len() == expected.len()
                && warnings
                    .iter()
                    .zip(expected)
                    .all(|(warning, part)| warning.contains(part));
            assert!(matches, "{to}: {warnings:?}");
        };
        let levels = "mean = [123.7, 116.3, 103.5]\nstd = [58.4, 57.1, 57.4]\n";
        let means = "mean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]\n";
        check("", "", &[]);
        check(
            "resize = 32",
            "resize = 31",
            &["input.resize = 31 is less than input.size = [32, 32]"],
        );
        check(
            "[32, 32]\nresize = 32",
            "[32, 48]\nresize = 40",
            &["raise input.resize to 48"],
        );
        check(means, levels, &["look like levels of 0..255"]);
        check(means, &format!("scale = 1.0\n{levels}"), &[]);
        check(means, &format!("scale = 1.0\n{means}"), &["look like numbers of 0..1"]);
        check(
            means,
            "scale = 1.0\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n",
            &[],
        );
        check(means, "mean = [0.5, 0.5, 0.5]\nstd = [1.0, 1.0, 1.0]\n", &[]);
        check(
            means,
            "mean = [0.0, 0.0, 0.0]\nstd = [255.0, 255.0, 255.0]\n",
            &["look like levels"],
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
