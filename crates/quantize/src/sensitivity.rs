//! Which layers hurt most, measured: each in fp32 with those that read it, all others in int8.
//!
//! A value is quantized unless the layer that returns it and all that read it compute in fp32. So a layer alone in fp32 shows what the rounding
//! of its weights costs, but not what the value behind it does, which is often more.

use crate::agreement::Agreement;
use crate::error::Error;
use crate::layers::Layer;

/// By how much the outputs' signal-to-noise ratio must rise for more layers to be left in fp32, dB.
pub(super) const GAIN_MIN_DB: f64 = 0.1;
/// Shares that differ by less are the same.
const SHARE_EPSILON: f64 = 1e-9;

/// Each layer with the layers that read it, by their places.
pub(super) fn with_readers(layers: &[Layer]) -> Vec<Vec<usize>> {
    let of = |first: usize| {
        let readers = layers
            .iter()
            .enumerate()
            .filter(|(_, l)| l.input == layers[first].output);
        std::iter::once(first).chain(readers.map(|(i, _)| i)).collect()
    };
    (0..layers.len()).map(of).collect()
}

/// A layer's gain, with the layers that read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The layer's place among all layers.
    pub(super) layer: usize,
    /// How much the outputs' signal-to-noise ratio rises with these in fp32, dB.
    pub(super) gain_db: f64,
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

/// Measures each layer with its readers (`sets`, of which each begins with the layer), then puts sets into fp32 until the goal is reached or what may be spent is spent: always the one
/// that takes away the most noise for the multiplications that it adds. `measure` is given the layers in fp32. Returns the candidates, best first,
/// and the layers chosen, ascending.
///
/// What a set takes away is measured again once others were chosen, but only while it seems the best one (Minoux, "Accelerated greedy algorithms",
/// 1978); those that share a layer with the chosen ones may have become better and are measured at once.
pub(super) fn choose(
    shares: &[f64],
    sets: &[Vec<usize>],
    goal: &Goal,
    start: Agreement,
    measure: &mut dyn FnMut(&[usize]) -> Result<Agreement, Error>,
) -> Result<(Vec<Candidate>, Vec<usize>), Error> {
    let mut candidates = Vec::with_capacity(sets.len());
    let mut search = Search {
        shares,
        share_max: goal.fp32_share_max,
        chosen: Vec::new(),
        reached: start,
    };
    let mut open = Vec::with_capacity(sets.len());
    for (layer, set) in sets.iter().filter_map(|set| Some((*set.first()?, set))) {
        let agreement = measure(set)?;
        candidates.push(Candidate {
            layer,
            gain_db: agreement.snr_db - start.snr_db,
        });
        open.push(Open {
            set,
            rate: search.rate(set, &agreement),
            measured: Some(agreement),
        });
    }
    candidates.sort_by(|a, b| b.gain_db.total_cmp(&a.gain_db));
    while !goal.is_reached(&search.reached) {
        open.retain(|candidate| search.may_add(candidate.set));
        let best = (0..open.len()).max_by(|a, b| open[*a].rate.total_cmp(&open[*b].rate).then(b.cmp(a)));
        let Some(best) = best else {
            break;
        };
        match open[best].measured {
            None => {
                let agreement = measure(&search.with(open[best].set))?;
                open[best].rate = search.rate(open[best].set, &agreement);
                open[best].measured = Some(agreement);
            }
            Some(agreement) if agreement.snr_db < search.reached.snr_db + GAIN_MIN_DB => {
                open.swap_remove(best);
            }
            Some(agreement) => {
                search.chosen = search.with(open[best].set);
                search.reached = agreement;
                open.iter_mut().for_each(|candidate| candidate.age(&search.chosen));
            }
        }
    }
    Ok((candidates, search.chosen))
}

/// What is in fp32 so far.
struct Search<'a> {
    shares: &'a [f64],
    share_max: f64,
    /// Layers, ascending.
    chosen: Vec<usize>,
    reached: Agreement,
}

/// A set that may be put into fp32.
struct Open<'a> {
    set: &'a [usize],
    /// How much noise it takes away for each share of the multiplications, as it was measured last.
    rate: f64,
    /// What is reached with it; `None` where other sets were chosen since.
    measured: Option<Agreement>,
}

impl Open<'_> {
    /// Others were chosen.
    fn age(&mut self, chosen: &[usize]) {
        self.measured = None;
        if self.set.iter().any(|layer| chosen.contains(layer)) {
            self.rate = f64::INFINITY;
        }
    }
}

impl Search<'_> {
    /// The chosen layers and those of a set.
    fn with(&self, set: &[usize]) -> Vec<usize> {
        let mut layers = [self.chosen.as_slice(), set].concat();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    fn share(&self, layers: &[usize]) -> f64 {
        layers.iter().map(|layer| self.shares[*layer]).sum()
    }

    /// Whether the set adds a layer and may be paid.
    fn may_add(&self, set: &[usize]) -> bool {
        let with = self.with(set);
        with.len() > self.chosen.len() && self.share(&with) <= self.share_max + SHARE_EPSILON
    }

    fn rate(&self, set: &[usize], agreement: &Agreement) -> f64 {
        let noise = |agreement: &Agreement| 10f64.powf(-agreement.snr_db / 10.0);
        let more = self.share(&self.with(set)) - self.share(&self.chosen);
        (noise(&self.reached) - noise(agreement)) / more.max(SHARE_EPSILON)
    }
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
        let (ranked, chosen) = choose(
            shares,
            &[vec![0], vec![1], vec![2]],
            &goal,
            agreement(&[]),
            &mut |fp32| Ok(agreement(fp32)),
        )
        .unwrap();
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
        check(goal, &[0.1, 0.6, 0.3], 1.0, &[0, 2]);
    }

    #[test]
    fn what_takes_away_more_noise_for_its_cost_goes_first() {
        let goal = Goal {
            top1_agreement: 1.0,
            fp32_share_max: 0.4,
        };
        check(goal, &[0.1, 0.4, 0.1], 1.0, &[0, 2]);
    }

    #[test]
    fn layers_that_help_only_together_are_found() {
        // Noise of the value between layers 1 and 2, and much less of their weights.
        let agreement = |fp32: &[usize]| {
            let between = if fp32.contains(&1) && fp32.contains(&2) {
                0.0
            } else {
                10.0
            };
            Agreement {
                images: 100,
                top1_agreement: 0.9,
                snr_db: -10.0 * f64::log10(1.0 + between + 0.01 * (3 - fp32.len()) as f64),
                ..Agreement::default()
            }
        };
        let sets = [vec![0, 1], vec![1, 2], vec![2]];
        let goal = Goal {
            top1_agreement: 0.98,
            fp32_share_max: 0.5,
        };
        let mut measure = |fp32: &[usize]| Ok(agreement(fp32));
        let (ranked, chosen) = choose(&[0.2; 3], &sets, &goal, agreement(&[]), &mut measure).unwrap();
        assert_eq!((ranked[0].layer, chosen), (1, vec![1, 2]));
        let (_, chosen) = choose(&[0.3; 3], &sets, &goal, agreement(&[]), &mut measure).unwrap();
        assert!(chosen.is_empty(), "{chosen:?}");
    }
}
