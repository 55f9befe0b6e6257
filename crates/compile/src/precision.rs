//! In which arithmetic a model is to be served, and what `auto` made of it.

use repserve_quantize::Precision;
use repserve_runtime::Curve;
use serde::{Deserialize, Serialize};

/// The arithmetic that is requested for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestedPrecision {
    /// 32-bit floating point.
    #[default]
    Fp32,
    /// 8-bit integers, as `calibration.json` says.
    Int8,
    /// int8 where its gate admits it and it measures at least as fast as fp32; fp32 else.
    Auto,
}

/// What `auto` chose, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoFacts {
    /// Why.
    pub reason: AutoReason,
    /// The same in words, with what led to it.
    pub message: String,
    /// CPU time of an image, where it was measured.
    pub measured: Option<AutoTimes>,
}

/// Why `auto` chose what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoReason {
    /// int8 is served: it is at least as fast.
    Int8AsFast,
    /// fp32 is served: it is faster.
    Fp32Faster,
    /// fp32 is served: the gate refuses int8.
    Int8Refused,
    /// fp32 is served: the int8 graph cannot be made, for example of a calibration of another model.
    Int8Unusable,
    /// fp32 is served: there is no calibration.
    NoCalibration,
}

/// Milliseconds of CPU time that an image takes in a run of the batch size that suits each best, all cores computing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AutoTimes {
    /// In fp32, in the kernels that would serve.
    pub fp32_ms: f64,
    /// In int8.
    pub int8_ms: f64,
}

impl AutoReason {
    /// The arithmetic that is served.
    pub fn precision(self) -> Precision {
        match self {
            Self::Int8AsFast => Precision::Int8,
            Self::Fp32Faster | Self::Int8Refused | Self::Int8Unusable | Self::NoCalibration => Precision::Fp32,
        }
    }

    /// Whether a calibration is there and does not serve its purpose.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Int8Refused | Self::Int8Unusable)
    }
}

impl AutoTimes {
    /// The least of what several curves of each say; `None` where nothing was measured.
    pub(super) fn of(fp32: &[Curve], int8: &[Curve]) -> Option<Self> {
        let least = |curves: &[Curve]| curves.iter().filter_map(Curve::image_ms).reduce(f64::min);
        Some(Self {
            fp32_ms: least(fp32)?,
            int8_ms: least(int8)?,
        })
    }
}

impl AutoFacts {
    /// Which of two that may both be served is the faster.
    pub(super) fn faster(times: AutoTimes) -> Self {
        let AutoTimes { fp32_ms, int8_ms } = times;
        let (reason, chosen) = if int8_ms <= fp32_ms {
            (AutoReason::Int8AsFast, "int8")
        } else {
            (AutoReason::Fp32Faster, "fp32")
        };
        Self {
            reason,
            message: format!("{chosen} is faster: an image takes {int8_ms:.2} ms in int8 and {fp32_ms:.2} ms in fp32"),
            measured: Some(times),
        }
    }

    /// fp32, for int8 cannot be had.
    pub(super) fn without_int8(reason: AutoReason, message: String) -> Self {
        Self {
            reason,
            message,
            measured: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_runtime::Point;

    fn curve(latencies_ms: &[f64]) -> Curve {
        let sizes = (0..).map(|n| 1usize << n);
        let points = sizes
            .zip(latencies_ms)
            .map(|(batch_size, &latency_ms)| Point { batch_size, latency_ms });
        Curve {
            narrow: points.collect(),
            ..Curve::default()
        }
    }

    #[track_caller]
    fn check(fp32: &[Curve], int8: &[Curve], reason: AutoReason, precision: Precision) {
        let found = AutoFacts::faster(AutoTimes::of(fp32, int8).unwrap());
        assert_eq!(
            (found.reason, found.reason.precision()),
            (reason, precision),
            "{found:?}"
        );
    }

    #[test]
    fn the_faster_is_chosen_by_the_batch_that_suits_each_best() {
        let faster = [curve(&[5.0, 9.0])];
        check(&faster, &[curve(&[4.0, 8.0])], AutoReason::Int8AsFast, Precision::Int8);
        check(&faster, &[curve(&[4.9, 9.5])], AutoReason::Fp32Faster, Precision::Fp32);
        check(&faster, &faster, AutoReason::Int8AsFast, Precision::Int8);
    }

    #[test]
    fn a_measurement_that_was_disturbed_decides_nothing() {
        let int8 = [curve(&[9.0]), curve(&[4.0])];
        check(
            &[curve(&[5.0]), curve(&[5.0])],
            &int8,
            AutoReason::Int8AsFast,
            Precision::Int8,
        );
        let fp32 = [curve(&[3.0]), curve(&[7.0])];
        check(&fp32, &int8, AutoReason::Fp32Faster, Precision::Fp32);
    }

    #[test]
    fn nothing_follows_from_nothing() {
        let (some, none) = ([curve(&[1.0])], [curve(&[])]);
        assert_eq!(AutoTimes::of(&some, &none), None);
        assert_eq!(AutoTimes::of(&none, &some), None);
    }

    #[test]
    fn only_a_calibration_of_no_use_is_a_fault() {
        let faults = [AutoReason::Int8Refused, AutoReason::Int8Unusable];
        assert!(faults.iter().all(|reason| reason.is_fault()));
        assert!(!AutoReason::NoCalibration.is_fault() && !AutoReason::Fp32Faster.is_fault());
    }
}
