//! The few numbers of a calibration that are decided by trying.

/// How far channels are equalized, and which error ranges minimise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Powers {
    /// 1 wholly, 0.75 by three quarters.
    pub(super) equalization: f64,
    /// The power of the error.
    pub(super) range: f64,
}

/// How far channels are equalized; the least divergence of the outputs decides.
pub(super) const EQUALIZATION_POWERS: [f64; 2] = [0.75, 1.0];
/// The powers of the error that ranges are tried with; the one with the least divergence of the outputs stays.
pub(super) const RANGE_POWERS: [f64; 3] = [2.0, 1.5, 3.0];
