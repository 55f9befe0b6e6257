//! A calibration in words.

use std::fmt::{Display, Formatter, Result};

use crate::agreement::Agreement;
use crate::calibration::{Calibration, Precision};
use crate::gate::{Judgement, Loss, Verdict};

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
            "{:width$}  precision  returns  SNR dB  gain if fp32 dB  channels equalized  of 16 bits",
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
                "{layer:width$}  {precision:>9}  {:>7}  {snr:>6}  {gain:>15}  {:>18}  {:>10}",
                record.returns.label(),
                format!("{scaled} of {}", record.equalization.len()),
                record.channels_16_bit.len()
            )?;
        }
        let int8 = self.layers.iter().filter(|l| l.precision == Precision::Int8).count();
        writeln!(
            f,
            "{int8} of {} layers in int8{}; channels equalized to the power {}; ranges minimise |error|^{}",
            self.layers.len(),
            self.int8_share.map_or_else(String::new, |share| format!(
                ", {:.1} % of the multiplications",
                100.0 * share
            )),
            self.equalization_power,
            self.range_power
        )?;
        write!(
            f,
            "cross-validated in {} parts: {}",
            self.evidence.folds, self.evidence.agreement
        )?;
        match &self.evidence.views {
            Some(views) => write!(f, "\nother views of the images: {views}"),
            None => Ok(()),
        }
    }
}

impl Calibration {
    /// The table of layers as CSV: `layer,precision,snr_db,gain_if_fp32_db,channels,channels_equalized,returns,channels_16_bit`.
    pub fn to_csv(&self) -> String {
        let mut text =
            "layer,precision,snr_db,gain_if_fp32_db,channels,channels_equalized,returns,channels_16_bit\n".to_owned();
        for record in &self.layers {
            let snr = match record.precision {
                Precision::Int8 => record.snr_db.to_string(),
                Precision::Fp32 => String::new(),
            };
            let gain = record.gain_if_fp32_db.map_or_else(String::new, |gain| gain.to_string());
            let channels = record.equalization.len();
            let equalized = record.equalization.iter().filter(|e| **e != 0).count();
            let (layer, precision) = (field(&record.layer), record.precision.label());
            let (returns, fine) = (record.returns.label(), record.channels_16_bit.len());
            text.push_str(&format!(
                "{layer},{precision},{snr},{gain},{channels},{equalized},{returns},{fine}\n"
            ));
        }
        text
    }
}

/// RFC 4180: quoted where it has to be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

impl Display for Judgement {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let percent = |share: f64| 100.0 * share;
        let interval = self.agreement.interval;
        write!(
            f,
            "top-1 agreement {:.2} % of {} images ({:.2} to {:.2} % with {} % confidence)",
            percent(self.agreement.share),
            self.agreement.of,
            percent(interval.low),
            percent(interval.high),
            percent(self.wanted.confidence),
        )?;
        if let Some(Loss {
            top1_loss,
            interval,
            counts,
        }) = &self.loss
        {
            write!(
                f,
                ", accuracy lost {:.2} points of {} labelled images ({:.2} to {:.2})",
                percent(*top1_loss),
                counts.images,
                percent(interval.low),
                percent(interval.high),
            )?;
        }
        write!(f, ", divergence {:.5} nats: {}", self.kl_divergence, self.conclusion())
    }
}

impl Judgement {
    /// What to do where the int8 graph is refused.
    pub fn remedy(&self) -> &'static str {
        match self.verdict {
            Verdict::Shown | Verdict::Compatible | Verdict::AccuracyKept => "",
            Verdict::TooFewImages => "Calibrate on more images",
            Verdict::Excluded | Verdict::Diverges => {
                "Calibrate on more images of the kind that will be classified, in folders that are named by their class so that accuracy counts; leave more \
                 layers in fp32 (--fp32-share-max); or serve fp32"
            }
        }
    }

    /// What follows from the evidence, and what it would take where it does not suffice.
    pub fn conclusion(&self) -> String {
        let wanted = format!("an agreement of {:.2} %", 100.0 * self.wanted.top1_agreement_min);
        match (self.verdict, self.images_needed) {
            (Verdict::Shown, _) => format!("{wanted} is shown"),
            (Verdict::Compatible, Some(images)) => {
                format!("{wanted} is compatible with that; about {images} images would decide it")
            }
            (Verdict::Compatible, None) => format!("{wanted} is compatible with that"),
            (Verdict::AccuracyKept, _) => format!(
                "{wanted} is not, but no more than the {:.2} points of accuracy that may be are lost",
                100.0 * self.wanted.top1_loss_max
            ),
            (Verdict::TooFewImages, Some(images)) => {
                format!("too few images to tell {wanted} from a bad one; it takes at least {images}")
            }
            (Verdict::TooFewImages, None) => format!("no number of images would show {wanted}"),
            (Verdict::Excluded, _) => format!("that excludes {wanted}"),
            (Verdict::Diverges, _) => format!("the divergence is larger than {} nats", self.wanted.kl_divergence_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;
    use crate::gate::GateSettings;
    use repserve_evaluation::Paired;

    fn judged(images: usize, top1_agreement: f64, labelled: Paired) -> String {
        let agreement = Agreement {
            images,
            top1_agreement,
            ..Agreement::default()
        };
        let evidence = Evidence {
            folds: 4,
            agreement,
            labelled,
            views: None,
        };
        GateSettings::default().judge(&evidence).to_string()
    }

    #[test]
    fn a_judgement_says_interval_and_what_follows() {
        assert_eq!(
            judged(25, 1.0, Paired::default()),
            "top-1 agreement 100.00 % of 25 images (86.28 to 100.00 % with 95 % confidence), divergence 0.00000 nats: too few images to tell an \
             agreement of 98.00 % from a bad one; it takes at least 36"
        );
        assert_eq!(
            judged(250, 1.0, Paired::default()),
            "top-1 agreement 100.00 % of 250 images (98.54 to 100.00 % with 95 % confidence), divergence 0.00000 nats: an agreement of 98.00 % is \
             shown"
        );
        let labelled = Paired {
            images: 1000,
            only_first: 15,
            only_second: 10,
        };
        let text = judged(1000, 0.96, labelled);
        assert!(
            text.contains("accuracy lost 0.50 points of 1000 labelled images (-0.5"),
            "{text}"
        );
    }
}
