//! How a graph's output becomes probabilities: decided from the graph's end, confirmed by what the output is on probes.

use std::fmt;

use repserve_graph::GraphEnd;
use serde::{Deserialize, Serialize};

use super::manifest::{OutputKind, OutputSpec};

/// How far a probability may lie outside 0 to 1, by rounding.
const RANGE_TOLERANCE: f32 = 1e-2;
/// How far probabilities may be from a sum of 1 where the graph's end says that they are some.
const SUM_TOLERANCE: f64 = 2e-2;
/// The same where only the values say so.
const SUM_TOLERANCE_UNSAID: f64 = 1e-3;

/// How the values of one row become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scores {
    /// Unbounded: a softmax makes probabilities of them.
    Logits,
    /// Probabilities already.
    Probabilities,
    /// Their logarithms.
    LogProbabilities,
    /// Independent classes; a sigmoid makes the probability of each where the graph has not.
    Independent {
        /// Whether the graph ends in the sigmoid.
        activated: bool,
    },
    /// One value for two classes: the probability of the second, or its logit.
    Binary {
        /// Whether it is the probability.
        activated: bool,
    },
}

/// What an output was on probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Values a row.
    pub width: usize,
    /// Smallest and largest value.
    pub range: [f32; 2],
    /// Smallest and largest sum of a row.
    pub sums: [f64; 2],
    /// Smallest and largest sum of a row's exponentials.
    pub exp_sums: [f64; 2],
}

/// An `output.kind` that is not what the graph returns.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("output.kind = \"{kind}\", but the graph ends in {end} and its output on random images {seen}; {advice}")]
pub struct KindError {
    kind: &'static str,
    end: GraphEnd,
    seen: Seen,
    advice: &'static str,
}

impl Seen {
    /// What these rows are; rows that hold NaN or infinity are left out. `None` where none is left.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Option<Self> {
        let mut seen: Option<Self> = None;
        for row in rows {
            if row.is_empty() || !row.iter().all(|x| x.is_finite()) {
                continue;
            }
            let sum = row.iter().map(|x| f64::from(*x)).sum();
            let exp_sum = row.iter().map(|x| f64::from(*x).exp()).sum();
            let now = seen.get_or_insert(Self {
                width: row.len(),
                range: [row[0]; 2],
                sums: [sum; 2],
                exp_sums: [exp_sum; 2],
            });
            for x in row {
                now.range = [now.range[0].min(*x), now.range[1].max(*x)];
            }
            now.sums = [now.sums[0].min(sum), now.sums[1].max(sum)];
            now.exp_sums = [now.exp_sums[0].min(exp_sum), now.exp_sums[1].max(exp_sum)];
        }
        seen
    }

    fn within_0_and_1(&self) -> bool {
        self.range[0] >= -RANGE_TOLERANCE && self.range[1] <= 1.0 + RANGE_TOLERANCE
    }

    fn sum_to_1(&self, tolerance: f64) -> bool {
        self.within_0_and_1() && self.sums.iter().all(|sum| (sum - 1.0).abs() <= tolerance)
    }

    fn are_logarithms(&self, tolerance: f64) -> bool {
        self.range[1] <= RANGE_TOLERANCE && self.exp_sums.iter().all(|sum| (sum - 1.0).abs() <= tolerance)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([low, high], [least, most]) = (self.range, self.sums);
        write!(
            f,
            "lies between {low:.4} and {high:.4}, with sums of a row between {least:.4} and {most:.4}"
        )
    }
}

/// What is known of an output.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What computes it.
    pub end: &'a GraphEnd,
    /// Whether its values are rounded to a coarse grid, so that probabilities need not sum to 1.
    pub rounded: bool,
    /// What it was on probes.
    pub seen: Seen,
    /// How many labels there are, where there are some.
    pub labels: Option<usize>,
}

impl Scores {
    /// How the output is read, and a warning where the graph's end and the values do not fit together.
    ///
    /// # Errors
    /// A kind in `spec` that contradicts them.
    pub fn decide(spec: &OutputSpec, facts: Facts<'_>) -> Result<(Self, Option<String>), KindError> {
        let Facts { end, seen, .. } = facts;
        let refused = |advice| {
            Err(KindError {
                kind: spec.kind.label(),
                end: end.clone(),
                seen,
                advice,
            })
        };
        let one = seen.width == 1;
        let in_range = seen.within_0_and_1();
        let sums = facts.rounded || seen.sum_to_1(SUM_TOLERANCE);
        let activated = in_range && !matches!(end, GraphEnd::LogSoftmax);
        let scores = match spec.kind {
            OutputKind::Auto => return Ok(Self::of_graph(facts)),
            OutputKind::Logits if !one && *end == GraphEnd::Softmax && in_range => {
                return refused("a softmax of probabilities is none: leave `kind` out, or say \"probabilities\"");
            }
            OutputKind::Logits if *end == GraphEnd::Sigmoid && in_range => {
                return refused("leave `kind` out, or say \"sigmoid\"");
            }
            OutputKind::Logits if one => Self::single(false, facts.labels),
            OutputKind::Logits => Self::Logits,
            OutputKind::Probabilities if !in_range => {
                return refused("probabilities lie between 0 and 1: leave `kind` out, or say what it is");
            }
            OutputKind::Probabilities if one => Self::single(true, facts.labels),
            OutputKind::Probabilities if !sums => {
                return refused("probabilities of a row sum to 1: say \"sigmoid\" where the classes are independent");
            }
            OutputKind::Probabilities => Self::Probabilities,
            OutputKind::LogProbabilities if one || !(facts.rounded || seen.are_logarithms(SUM_TOLERANCE)) => {
                return refused(
                    "logarithms of probabilities are not above 0, and their exponentials sum to 1 in a row",
                );
            }
            OutputKind::LogProbabilities => Self::LogProbabilities,
            OutputKind::Sigmoid if matches!(end, GraphEnd::Softmax | GraphEnd::LogSoftmax) => {
                return refused("classes of a softmax are not independent: leave `kind` out");
            }
            OutputKind::Sigmoid if one => Self::single(activated, facts.labels),
            OutputKind::Sigmoid => Self::Independent { activated },
        };
        Ok((scores, None))
    }

    /// As the graph's end says, where the values confirm it.
    fn of_graph(
        Facts {
            end,
            rounded,
            seen,
            labels,
        }: Facts<'_>,
    ) -> (Self, Option<String>) {
        let unfit = |read: &str| {
            Some(format!(
                "the graph ends in {end}, but its output on random images {seen}; it is read as {read}; say what it is in `output.kind`"
            ))
        };
        let in_range = seen.within_0_and_1();
        match end {
            GraphEnd::Softmax if seen.width == 1 && in_range => (
                Self::Independent { activated: true },
                unfit("the probability of one class"),
            ),
            GraphEnd::Softmax if in_range && (rounded || seen.sum_to_1(SUM_TOLERANCE)) => (Self::Probabilities, None),
            GraphEnd::Softmax if in_range => (
                Self::Independent { activated: true },
                unfit("probabilities of independent classes"),
            ),
            GraphEnd::Sigmoid if in_range && seen.width == 1 => (Self::single(true, labels), None),
            GraphEnd::Sigmoid if in_range => (Self::Independent { activated: true }, None),
            GraphEnd::LogSoftmax if seen.width > 1 && (rounded || seen.are_logarithms(SUM_TOLERANCE)) => {
                (Self::LogProbabilities, None)
            }
            GraphEnd::Softmax | GraphEnd::Sigmoid | GraphEnd::LogSoftmax => (Self::Logits, unfit("logits")),
            GraphEnd::Other(_) if seen.width == 1 => (Self::single(false, labels), None),
            GraphEnd::Other(_) if seen.sum_to_1(SUM_TOLERANCE_UNSAID) => (Self::Probabilities, None),
            GraphEnd::Other(_) if seen.are_logarithms(SUM_TOLERANCE_UNSAID) => (Self::LogProbabilities, None),
            GraphEnd::Other(_) => (Self::Logits, None),
        }
    }

    /// One value a row: of two classes, or of the one that there is a label for.
    fn single(activated: bool, labels: Option<usize>) -> Self {
        match labels {
            Some(1) => Self::Independent { activated },
            _ => Self::Binary { activated },
        }
    }

    /// Classes of a row of `width` values.
    pub fn classes(self, width: usize) -> usize {
        match self {
            Self::Binary { .. } => 2,
            _ => width,
        }
    }

    /// As `output.kind` calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Logits | Self::Binary { activated: false } => OutputKind::Logits.label(),
            Self::Probabilities | Self::Binary { activated: true } => OutputKind::Probabilities.label(),
            Self::LogProbabilities => OutputKind::LogProbabilities.label(),
            Self::Independent { .. } => OutputKind::Sigmoid.label(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(kind: OutputKind, end: GraphEnd, rows: &[&[f32]], labels: Option<usize>) -> Result<Scores, String> {
        let spec = OutputSpec {
            kind,
            ..OutputSpec::default()
        };
        let facts = Facts {
            end: &end,
            rounded: false,
            seen: Seen::of(rows.iter().copied()).unwrap(),
            labels,
        };
        Scores::decide(&spec, facts)
            .map(|(scores, _)| scores)
            .map_err(|e| e.to_string())
    }

    const LOGITS: &[&[f32]] = &[&[-3.0, 14.36, 0.5], &[1.0, 2.0, 3.0]];
    const PROBABILITIES: &[&[f32]] = &[&[0.25, 0.5, 0.25], &[0.0, 0.0, 1.0]];
    const INDEPENDENT: &[&[f32]] = &[&[0.9, 0.8, 0.1], &[0.0, 0.1, 0.0]];
    const LOGARITHMS: &[&[f32]] = &[&[-std::f32::consts::LN_2, -std::f32::consts::LN_2, -100.0]];

    fn other() -> GraphEnd {
        GraphEnd::Other("Gemm".to_owned())
    }

    #[track_caller]
    fn check(kind: OutputKind, end: GraphEnd, rows: &[&[f32]], expected: Scores) {
        assert_eq!(decide(kind, end, rows, None), Ok(expected));
    }

    #[test]
    fn the_end_of_the_graph_says_what_it_returns() {
        use GraphEnd::{LogSoftmax, Sigmoid, Softmax};
        let auto = OutputKind::Auto;
        check(auto, Softmax, PROBABILITIES, Scores::Probabilities);
        check(auto, LogSoftmax, LOGARITHMS, Scores::LogProbabilities);
        check(auto, Sigmoid, INDEPENDENT, Scores::Independent { activated: true });
        check(auto, other(), LOGITS, Scores::Logits);
        check(auto, other(), INDEPENDENT, Scores::Logits);
        check(auto, other(), PROBABILITIES, Scores::Probabilities);
        check(auto, other(), LOGARITHMS, Scores::LogProbabilities);
        // A softmax over another axis.
        check(
            auto,
            Softmax,
            &[&[1.0, 1.0, 1.0]],
            Scores::Independent { activated: true },
        );
    }

    #[test]
    fn one_value_is_two_classes_unless_there_is_one_label() {
        let auto = OutputKind::Auto;
        check(auto, other(), &[&[3.0]], Scores::Binary { activated: false });
        check(auto, GraphEnd::Sigmoid, &[&[0.3]], Scores::Binary { activated: true });
        let one = decide(auto, other(), &[&[3.0]], Some(1));
        assert_eq!(one, Ok(Scores::Independent { activated: false }));
        assert_eq!(Scores::Binary { activated: true }.classes(1), 2);
    }

    #[test]
    fn what_is_said_holds_where_nothing_contradicts_it() {
        check(OutputKind::Logits, other(), LOGITS, Scores::Logits);
        check(OutputKind::Logits, GraphEnd::LogSoftmax, LOGARITHMS, Scores::Logits);
        check(
            OutputKind::Probabilities,
            GraphEnd::Softmax,
            PROBABILITIES,
            Scores::Probabilities,
        );
        let independent = |activated| Scores::Independent { activated };
        check(OutputKind::Sigmoid, other(), LOGITS, independent(false));
        check(OutputKind::Sigmoid, GraphEnd::Sigmoid, INDEPENDENT, independent(true));
    }

    #[test]
    fn a_kind_that_contradicts_the_graph_is_refused_with_both_facts() {
        let refused = |kind, end, rows| decide(kind, end, rows, None).unwrap_err();
        assert_eq!(
            refused(OutputKind::Probabilities, other(), LOGITS),
            "output.kind = \"probabilities\", but the graph ends in Gemm and its output on random images lies between \
             -3.0000 and 14.3600, with sums of a row between 6.0000 and 11.8600; probabilities lie between 0 and 1: \
             leave `kind` out, or say what it is"
        );
        for (kind, end, rows) in [
            (OutputKind::Logits, GraphEnd::Softmax, PROBABILITIES),
            (OutputKind::Logits, GraphEnd::Sigmoid, INDEPENDENT),
            (OutputKind::Probabilities, GraphEnd::Sigmoid, INDEPENDENT),
            (OutputKind::LogProbabilities, other(), LOGITS),
            (OutputKind::LogProbabilities, GraphEnd::Softmax, PROBABILITIES),
            (OutputKind::Sigmoid, GraphEnd::Softmax, PROBABILITIES),
        ] {
            let message = refused(kind, end.clone(), rows);
            assert!(
                message.contains(kind.label()) && message.contains(&end.to_string()),
                "{message}"
            );
        }
    }

    #[test]
    fn rows_that_are_not_finite_show_nothing() {
        assert_eq!(Seen::of([&[f32::NAN, 1.0][..], &[]]), None);
        assert_eq!(Seen::of([&[f32::NAN][..], &[0.5]]).unwrap().range, [0.5, 0.5]);
    }
}
