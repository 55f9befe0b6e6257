//! Which layers to lower, from what both ways took: pure arithmetic over times and sizes.

use std::collections::{BTreeMap, HashMap, HashSet};

use repserve_graph::ValueId;

use crate::median::median;

/// Milliseconds that converting one float between the layouts takes: eight bytes at about 16 GB/s.
const CONVERSION_MS: f64 = 0.5e-6;
/// A kind of layers is left to ONNX Runtime only where that gains more than this share of its time there, and of the whole run. Two ways
/// that are as good as equal would else take turns from one start to the next.
const TIE: f64 = 0.1;
const TIE_OF_RUN: f64 = 0.01;
/// All sites are lowered unless leaving some gains more than this share of the run.
const LEAVING_GAIN_MIN: f64 = 0.04;
/// The lowered graph must win by this factor; below it the plain one is as good and holds less memory.
const GAIN_MIN: f64 = 1.03;

/// A site as it was timed, and what it shares with its neighbours.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    /// Sites of the same kind do the same work: their times are taken together, and so is the decision.
    pub(super) kind: usize,
    /// Milliseconds in ONNX Runtime, where its profile names the site.
    pub(super) ms_plain: Option<f64>,
    /// Milliseconds in the kernels.
    pub(super) ms_lowered: f64,
    /// Values that it reads in blocks, with their counts of floats.
    pub(super) reads: Vec<(ValueId, usize)>,
    /// What it produces, and its floats.
    pub(super) output: (ValueId, usize),
    /// Whether something reads the output that is no site.
    pub(super) leaves: bool,
}

/// Which sites to lower; none where that gains too little. `ms` are whole runs, plain and with all sites lowered.
pub(super) fn decide(sites: &[Timed], ms: [f64; 2]) -> Vec<bool> {
    let kinds = kinds(sites);
    let mut chosen = vec![true; sites.len()];
    let mut total = ms[1];
    // The kind that loses most comes first.
    let mut losing: Vec<(usize, Loss)> = kinds
        .iter()
        .filter_map(|(kind, of)| Some((*kind, of.loss?)))
        .filter(|(_, loss)| loss.ms > loss.tie_ms)
        .collect();
    losing.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
    for (kind, loss) in losing {
        let without: Vec<bool> = sites
            .iter()
            .zip(&chosen)
            .map(|(site, chosen)| *chosen && site.kind != kind)
            .collect();
        let conversions = converted(sites, &without) as f64 - converted(sites, &chosen) as f64;
        let change = conversions * CONVERSION_MS - loss.ms;
        if change < -loss.tie_ms.max(ms[1] * TIE_OF_RUN) {
            total += change;
            chosen = without;
        }
    }
    if ms[1] - total < ms[1] * LEAVING_GAIN_MIN {
        chosen.fill(true);
        total = ms[1];
    }
    if total * GAIN_MIN > ms[0] {
        chosen.fill(false);
    }
    chosen
}

struct Kind {
    plain: Vec<f64>,
    lowered: Vec<f64>,
    loss: Option<Loss>,
}

/// What all sites of a kind lose together by being lowered.
#[derive(Debug, Clone, Copy)]
struct Loss {
    ms: f64,
    /// Below this the kernels are as fast as ONNX Runtime.
    tie_ms: f64,
}

fn kinds(sites: &[Timed]) -> BTreeMap<usize, Kind> {
    let mut kinds: BTreeMap<usize, Kind> = BTreeMap::new();
    for site in sites {
        let kind = kinds.entry(site.kind).or_insert_with(|| Kind {
            plain: Vec::new(),
            lowered: Vec::new(),
            loss: None,
        });
        kind.plain.extend(site.ms_plain);
        kind.lowered.push(site.ms_lowered);
    }
    for kind in kinds.values_mut() {
        let count = kind.lowered.len() as f64;
        let times = median(&kind.plain).zip(median(&kind.lowered));
        kind.loss = times.map(|(plain, lowered)| Loss {
            ms: (lowered - plain) * count,
            tie_ms: plain * count * TIE,
        });
    }
    kinds
}

/// Floats that are converted where `chosen` sites are lowered: each value once in either direction.
fn converted(sites: &[Timed], chosen: &[bool]) -> usize {
    let lowered = || sites.iter().zip(chosen).filter(|(_, c)| **c).map(|(s, _)| s);
    let blocked: HashSet<ValueId> = lowered().map(|s| s.output.0).collect();
    let entering: HashMap<ValueId, usize> = lowered()
        .flat_map(|s| s.reads.iter().copied())
        .filter(|(value, _)| !blocked.contains(value))
        .collect();
    let left_by_others: HashSet<ValueId> = sites
        .iter()
        .zip(chosen)
        .filter(|(_, c)| !**c)
        .flat_map(|(s, _)| s.reads.iter().map(|(value, _)| *value))
        .collect();
    let leaving = lowered().filter(|s| s.leaves || left_by_others.contains(&s.output.0));
    entering.values().sum::<usize>() + leaving.map(|s| s.output.1).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATS: usize = 200_000;

    /// A chain of sites, each with its kind and its times (plain, lowered); the last one's output leaves.
    fn chain(times: &[(usize, f64, f64)]) -> Vec<Timed> {
        let site = |(i, &(kind, plain, ms_lowered)): (usize, &(usize, f64, f64))| Timed {
            kind,
            ms_plain: Some(plain),
            ms_lowered,
            reads: vec![(ValueId(i as u32), FLOATS)],
            output: (ValueId(i as u32 + 1), FLOATS),
            leaves: i + 1 == times.len(),
        };
        times.iter().enumerate().map(site).collect()
    }

    /// Whole runs take what the sites take.
    #[track_caller]
    fn check(times: &[(usize, f64, f64)], expected: &[bool]) {
        let plain = times.iter().map(|t| t.1).sum();
        let lowered = times.iter().map(|t| t.2).sum();
        assert_eq!(decide(&chain(times), [plain, lowered]), expected);
    }

    #[test]
    fn what_wins_is_lowered_and_what_loses_much_is_not() {
        check(&[(0, 3.0, 1.0), (1, 3.0, 5.0), (0, 3.0, 1.0)], &[true, false, true]);
    }

    #[test]
    fn a_layer_that_loses_less_than_two_conversions_cost_stays_in_the_chain() {
        check(&[(0, 3.0, 1.0), (1, 1.0, 1.1), (0, 3.0, 1.0)], &[true, true, true]);
        check(&[(0, 3.0, 1.0), (0, 3.0, 1.0), (1, 1.0, 1.3)], &[true, true, false]);
    }

    #[test]
    fn a_layer_that_is_as_fast_either_way_is_always_lowered() {
        for lowered in [2.9, 3.0, 3.25] {
            check(&[(0, 3.0, 1.0), (1, 3.0, lowered)], &[true, true]);
        }
        check(&[(0, 3.0, 1.0), (1, 3.0, 3.6)], &[true, false]);
    }

    #[test]
    fn layers_are_left_only_where_that_shows_in_the_whole_run() {
        check(&[(0, 30.0, 10.0), (1, 1.0, 1.4)], &[true, true]);
        check(&[(0, 30.0, 10.0), (1, 1.0, 1.4), (2, 1.0, 1.4)], &[true, false, false]);
    }

    #[test]
    fn one_odd_time_of_many_alike_decides_nothing() {
        check(
            &[(0, 3.0, 1.0), (0, 3.0, 9.0), (0, 3.0, 1.0), (1, 9.0, 1.0)],
            &[true; 4],
        );
    }

    #[test]
    fn a_graph_that_gains_nothing_is_left_alone() {
        check(&[(0, 3.0, 3.0), (1, 3.0, 2.95)], &[false, false]);
        check(&[(0, 3.0, 4.0)], &[false]);
    }

    #[test]
    fn values_are_converted_once_for_all_their_readers() {
        let mut sites = chain(&[(0, 1.0, 1.0), (1, 1.0, 1.0), (2, 1.0, 1.0)]);
        sites[2].reads.push((ValueId(0), FLOATS));
        assert_eq!(converted(&sites, &[true; 3]), 2 * FLOATS);
        assert_eq!(converted(&sites, &[true, false, true]), 4 * FLOATS);
        assert_eq!(converted(&sites, &[false; 3]), 0);
    }
}
