//! Whether an int8 graph may be served: decided by what the evidence shows and what it excludes.
//!
//! Of the agreement with fp32 the evidence says an interval ([`Interval::of_share`]). An agreement that was wanted is shown where the
//! interval lies above it, excluded where it lies below, and compatible with the evidence where it lies within. Few images exclude little: an
//! int8 graph is admitted only by as many as would exclude a bad one.

use repserve_evaluation::{Interval, Paired, Share, trials_that_decide, trials_that_show};
use repserve_settings::{rule, settings};
use serde::{Deserialize, Serialize};

use crate::agreement::Agreement;
use crate::evidence::Evidence;

/// Slack for shares that are computed from counts.
const EPSILON: f64 = 1e-9;

settings! {
    /// An int8 graph is compared with the fp32 graph by cross-validation when it is calibrated. What that shows decides whether it is served.
    #[derive(Copy)]
    pub struct GateSettings {
        /// Share of images whose best class is to agree. An int8 graph is served if the interval of its agreement holds this share or lies above.
        #[allowed(0.0..=1.0)]
        top1_agreement_min: f64 = 0.98,
        /// An agreement that the images must be able to exclude: with fewer images than that takes, int8 is not served.
        #[allowed(0.0..=1.0)]
        top1_agreement_floor: f64 = 0.9,
        /// Share of images with labels by which fp32 may be right more often (0.01: one point). An int8 graph that keeps within is served also
        /// where its agreement is smaller.
        #[allowed(0.0..=1.0)]
        top1_loss_max: f64 = 0.01,
        /// Confidence of the intervals.
        #[allowed(rule("0.5 to 0.9999", |gate: &GateSettings| (0.5..=0.9999).contains(&gate.confidence)))]
        confidence: f64 = 0.95,
        /// Largest mean Kullback-Leibler divergence of the int8 probabilities from the fp32 ones, in nats.
        #[allowed(0.0..)]
        kl_divergence_max: f64 = 0.1,
        /// What happens else. refuse: the model is not served. fp32: the fp32 graph is served, with a warning.
        otherwise: Otherwise = Otherwise::Refuse,
    }
}

/// What a server does with an int8 graph that it does not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It does not serve.
    #[default]
    Refuse,
    /// It serves the fp32 graph.
    Fp32,
}

/// What evidence says of an int8 graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The agreement is at least the wanted one. Admitted.
    Shown,
    /// The wanted agreement is within the interval. Admitted.
    Compatible,
    /// The agreement is smaller, and the labels say that accuracy is kept. Admitted.
    AccuracyKept,
    /// There are too few images to exclude a bad agreement. Refused.
    TooFewImages,
    /// The wanted agreement is excluded. Refused.
    Excluded,
    /// The probabilities are too far from those of fp32. Refused.
    Diverges,
}

/// The accuracy that int8 loses on labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// By which share of the images fp32 is right more often, -1 to 1.
    pub top1_loss: f64,
    /// Its interval; see [`Paired::interval`].
    pub interval: Interval,
    /// What was counted: first fp32, second int8.
    pub counts: Paired,
}

/// Evidence, judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What it comes to.
    pub verdict: Verdict,
    /// Images whose best class agrees.
    pub agreement: Share,
    /// The accuracy that is lost; `None` without labels.
    pub loss: Option<Loss>,
    /// Mean Kullback-Leibler divergence, nats.
    pub kl_divergence: f64,
    /// Images that it takes: to judge where there are too few, else to decide whether the wanted agreement is reached, if as large a share agrees. `None`
    /// where that is decided, or where no number of images would.
    pub images_needed: Option<usize>,
    /// What was wanted.
    #[serde(skip)]
    pub wanted: GateSettings,
}

impl Verdict {
    /// Whether the int8 graph may be served.
    pub fn admits(self) -> bool {
        matches!(self, Self::Shown | Self::Compatible | Self::AccuracyKept)
    }
}

impl GateSettings {
    /// A gate that admits whatever was compared, for measuring.
    pub fn open() -> Self {
        Self {
            top1_agreement_min: 0.0,
            kl_divergence_max: f64::INFINITY,
            ..Self::default()
        }
    }

    /// The fewest images on which anything can be admitted.
    pub fn images_min(&self) -> usize {
        let floor = self.top1_agreement_floor.min(self.top1_agreement_min);
        trials_that_show(floor, self.confidence).map_or(usize::MAX, |images| images.max(1))
    }

    /// Judges what cross-validation found.
    pub fn judge(&self, evidence: &Evidence) -> Judgement {
        let Agreement {
            images, kl_divergence, ..
        } = evidence.agreement;
        let agreeing = images - evidence.agreement.differing().min(images);
        let agreement = Share::new(agreeing, images, self.confidence);
        let counts = evidence.labelled;
        let loss = (counts.images > 0).then(|| Loss {
            // Not -0.0 where none is lost.
            top1_loss: 0.0 - counts.difference(),
            interval: counts.interval(self.confidence).negated(),
            counts,
        });
        let verdict = self.verdict(&agreement, loss.as_ref(), kl_divergence);
        Judgement {
            verdict,
            agreement,
            loss,
            kl_divergence,
            images_needed: self.images_needed(verdict, &agreement),
            wanted: *self,
        }
    }

    fn verdict(&self, agreement: &Share, loss: Option<&Loss>, kl_divergence: f64) -> Verdict {
        let enough = |images: usize| images >= self.images_min();
        let Interval { low, high } = agreement.interval;
        if agreement.of == 0 {
            return Verdict::TooFewImages;
        }
        // Written so that a divergence that is no number is too large.
        if kl_divergence.is_nan() || kl_divergence > self.kl_divergence_max {
            return Verdict::Diverges;
        }
        if low + EPSILON >= self.top1_agreement_min {
            return Verdict::Shown;
        }
        if high >= self.top1_agreement_min && enough(agreement.of) {
            return Verdict::Compatible;
        }
        let kept = |loss: &Loss| enough(loss.counts.images) && loss.top1_loss <= self.top1_loss_max + EPSILON;
        if loss.is_some_and(kept) {
            return Verdict::AccuracyKept;
        }
        if high >= self.top1_agreement_min {
            Verdict::TooFewImages
        } else {
            Verdict::Excluded
        }
    }

    fn images_needed(&self, verdict: Verdict, agreement: &Share) -> Option<usize> {
        match verdict {
            Verdict::TooFewImages => Some(self.images_min()).filter(|images| *images < usize::MAX),
            Verdict::Compatible => trials_that_decide(agreement.share, self.top1_agreement_min, self.confidence),
            Verdict::Shown | Verdict::AccuracyKept | Verdict::Excluded | Verdict::Diverges => None,
        }
    }

    /// Whether an int8 graph does worse than when it was calibrated, on the same pictures, and so badly that the wanted agreement is
    /// excluded: then it is computed wrongly here.
    pub fn refutes(&self, here: &Agreement, when_calibrated: &Agreement) -> bool {
        let agreeing = here.images - here.differing().min(here.images);
        let most = Interval::of_share(agreeing, here.images, self.confidence).high;
        let worse = here.differing() > when_calibrated.differing();
        here.kl_divergence.is_nan()
            || here.kl_divergence > self.kl_divergence_max
            || worse && most < self.top1_agreement_min
    }
}

#[cfg(test)]
mod tests;
