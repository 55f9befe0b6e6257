//! Which layers hurt most, measured: each alone in fp32, all others in int8.

use crate::agreement::Agreement;
use crate::error::Error;

/// A layer's gain and price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The layer's place among all layers.
    pub(super) layer: usize,
    /// How much the outputs' signal-to-noise ratio rises with this layer in fp32, dB.
    pub(super) gain_db: f64,
    /// Its share of all multiplications.
    pub(super) share: f64,
}

/// What a calibration is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Top-1 agreement with fp32 on images that were not calibrated on, expected and counted, 0 to 1.
    pub top1_agreement: f64,
    /// Share of the multiplications that may stay in fp32 for it, 0 to 1: what is spent here is lost in speed.
    pub fp32_share_max: f64,
}

impl Goal {
    /// Whether both the expected and the counted agreement suffice. As many images may differ as the share leaves of them, rounded up.
    pub(super) fn is_reached(&self, agreement: &Agreement) -> bool {
        let may_differ = agreement.images as f64 * (1.0 - self.top1_agreement) - 1e-9;
        let counted = agreement.images > 0 && agreement.differing() as f64 <= may_differ.ceil().max(0.0);
        counted && agreement.top1_agreement_expected >= self.top1_agreement
    }
}

impl Default for Goal {
    fn default() -> Self {
        Self {
            top1_agreement: 0.98,
            fp32_share_max: 0.1,
        }
    }
}

/// Measures every layer, then puts layers into fp32, the one with the largest gain first, until the goal is reached or
/// what may be spent is spent. `measure` is given the layers in fp32. Returns the candidates, best first, and the
/// layers chosen.
pub(super) fn choose(
    shares: &[f64],
    goal: &Goal,
    start: Agreement,
    measure: &mut dyn FnMut(&[usize]) -> Result<Agreement, Error>,
) -> Result<(Vec<Candidate>, Vec<usize>), Error> {
    let mut candidates = Vec::with_capacity(shares.len());
    for (layer, share) in shares.iter().enumerate() {
        let gain_db = measure(&[layer])?.snr_db - start.snr_db;
        candidates.push(Candidate {
            layer,
            gain_db,
            share: *share,
        });
    }
    candidates.sort_by(|a, b| b.gain_db.total_cmp(&a.gain_db));
    let mut chosen = Vec::new();
    let mut spent = 0.0;
    let mut reached = start;
    for candidate in candidates.iter().filter(|c| c.gain_db > 0.0) {
        if goal.is_reached(&reached) {
            break;
        }
        if spent + candidate.share > goal.fp32_share_max {
            continue;
        }
        chosen.push(candidate.layer);
        let agreement = measure(&chosen)?;
        if agreement.snr_db > reached.snr_db {
            spent += candidate.share;
            reached = agreement;
        } else {
            chosen.pop();
        }
    }
    Ok((candidates, chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise powers of independent layers; the expected agreement falls with their sum, and as many of 100 images as `differing`
    /// times that sum differ.
    #[track_caller]
    fn check(goal: Goal, shares: &[f64], differing: f64, expected: &[usize]) {
        let noise = [1.0, 9.0, 4.0];
        let agreement = |fp32: &[usize]| {
            let sum: f64 = (0..3).filter(|i| !fp32.contains(i)).map(|i| noise[i]).sum();
            Agreement {
                images: 100,
                top1_agreement: 1.0 - (differing * sum).round() / 100.0,
                snr_db: -10.0 * f64::log10(sum.max(1e-9)),
                top1_agreement_expected: 1.0 - sum / 100.0,
                ..Agreement::default()
            }
        };
        let (ranked, chosen) = choose(shares, &goal, agreement(&[]), &mut |fp32| Ok(agreement(fp32))).unwrap();
        assert_eq!(ranked.iter().map(|c| c.layer).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(chosen, expected);
    }

    #[test]
    fn the_layer_that_hurts_most_goes_first_until_the_goal_is_reached() {
        let goal = |top1_agreement, fp32_share_max| Goal {
            top1_agreement,
            fp32_share_max,
        };
        check(goal(0.8, 1.0), &[0.3; 3], 1.0, &[]);
        check(goal(0.9, 1.0), &[0.3; 3], 1.0, &[1]);
        check(goal(0.98, 1.0), &[0.3; 3], 1.0, &[1, 2]);
    }

    #[test]
    fn images_that_differ_count_besides_what_is_expected() {
        let goal = Goal {
            top1_agreement: 0.8,
            fp32_share_max: 1.0,
        };
        check(goal, &[0.3; 3], 3.0, &[1]);
        check(goal, &[0.3; 3], 5.0, &[1, 2]);
    }

    #[test]
    fn what_costs_too_much_is_passed_over() {
        let goal = Goal {
            top1_agreement: 1.0,
            fp32_share_max: 0.4,
        };
        check(goal, &[0.1, 0.6, 0.3], 1.0, &[2, 0]);
    }
}
