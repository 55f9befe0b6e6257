//! The report of `calibrate`: what cross-validation shows, and each layer's noise.

use maud::{Markup, html};

use super::charts::{Bar, bars, intervals};
use super::page::{page, percent, section};
use repserve_quantize::{Calibration, Judgement, LayerRecord, Precision};

/// Below this a layer's signal is hardly above its noise, dB.
const SNR_LOW_DB: f64 = 12.0;

/// The page of a calibration and what follows from it.
pub(in crate::cli) fn html(name: &str, calibration: &Calibration, judgement: &Judgement) -> String {
    let body = html! {
        (section("judgement", "Agreement with fp32", &agreement(judgement)))
        (section("layers", "Signal-to-noise ratio by layer, dB", &layers(calibration)))
        (section("method", "How", &method(calibration)))
    };
    page(name, "calibration for int8", &body)
}

fn agreement(judgement: &Judgement) -> Markup {
    let admitted = judgement.verdict.admits();
    let agreement = (
        "agreement".to_owned(),
        judgement.agreement.share,
        judgement.agreement.interval,
    );
    html! {
        p class=(if admitted { "good" } else { "bad" }) { @if admitted { "Admitted: " } @else { "Refused: " } (judgement.conclusion()) }
        p { (judgement) }
        (intervals("the agreement, its interval, and what is wanted", &[agreement], judgement.wanted.top1_agreement_min))
        @if let Some(loss) = &judgement.loss {
            h3 { "Accuracy lost" }
            (intervals("accuracy lost, its interval, and what may be lost", &[("accuracy lost".to_owned(), loss.top1_loss, loss.interval)], judgement.wanted.top1_loss_max))
        }
    }
}

fn layers(calibration: &Calibration) -> Markup {
    let bar = |record: &LayerRecord| match record.precision {
        Precision::Fp32 => Bar {
            label: record.layer.clone(),
            value: 0.0,
            text: "fp32".to_owned(),
            class: "good",
        },
        Precision::Int8 => Bar {
            label: record.layer.clone(),
            value: record.snr_db,
            text: match record.gain_if_fp32_db {
                Some(gain) => format!("{:.1} (logits {gain:+.2} if fp32)", record.snr_db),
                None => format!("{:.1}", record.snr_db),
            },
            class: if record.snr_db < SNR_LOW_DB { "bad" } else { "accent" },
        },
    };
    let bars_of: Vec<Bar> = calibration.layers.iter().map(bar).collect();
    html! {
        p.quiet { "Errors of earlier layers included. Below " (SNR_LOW_DB) " dB in red; layers that stay in fp32 have no bar." }
        (bars("signal-to-noise ratio by layer", &bars_of))
    }
}

fn method(calibration: &Calibration) -> Markup {
    let int8 = calibration.layers_in(Precision::Int8).count();
    html! {
        p { (calibration.method) }
        p {
            (calibration.images.count) " images; " (int8) " of " (calibration.layers.len()) " layers in int8; channels equalized to the power "
            (calibration.equalization_power) "; ranges minimise |error|^" (calibration.range_power) "; expected agreement "
            (percent(calibration.evidence.agreement.top1_agreement_expected))
        }
    }
}
