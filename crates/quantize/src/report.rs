//! A calibration in words.

use std::fmt::{Display, Formatter, Result};

use crate::calibration::{Calibration, Precision};
use crate::gate::Agreement;

impl Display for Agreement {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "top-1 agreement {:.2} % of {} images ({:.2} % expected), divergence {:.5} nats, {:.1} dB",
            100.0 * self.top1_agreement,
            self.images,
            100.0 * self.top1_agreement_expected,
            self.kl_divergence,
            self.snr_db
        )
    }
}

impl Display for Calibration {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let width = self
            .layers
            .iter()
            .map(|l| l.layer.chars().count())
            .max()
            .unwrap_or(0)
            .max(5);
        writeln!(
            f,
            "{:width$}  precision  SNR dB  gain if fp32 dB  channels equalized",
            "layer"
        )?;
        for record in &self.layers {
            let (precision, snr) = match record.precision {
                Precision::Int8 => ("int8", format!("{:.1}", record.snr_db)),
                Precision::Fp32 => ("fp32", "-".to_owned()),
            };
            let gain = record
                .gain_if_fp32_db
                .map_or_else(|| "-".to_owned(), |g| format!("{g:.2}"));
            let scaled = record.equalization.iter().filter(|e| **e != 0).count();
            let layer = &record.layer;
            writeln!(
                f,
                "{layer:width$}  {precision:>9}  {snr:>6}  {gain:>15}  {scaled:>7} of {}",
                record.equalization.len()
            )?;
        }
        let int8 = self.layers.iter().filter(|l| l.precision == Precision::Int8).count();
        writeln!(
            f,
            "{int8} of {} layers in int8; channels equalized to the power {}; ranges minimise |error|^{}",
            self.layers.len(),
            self.equalization_power,
            self.range_power
        )?;
        write!(f, "held-out images: {}", self.held_out)
    }
}
