//! Which batch size to measure next, from what was measured: no clock and no session.
//!
//! What disturbs a machine for a while falsifies single measurements. So sizes that are nearly as good as each other are measured in
//! turns, and the least time of each counts; what is clear is not measured again, and larger sizes only while they gain.

use super::{BATCH_MS_MAX, GAIN_MIN, Point};

/// A size is tried only where the one before it gained this factor: a fixed cost of a run that a doubling does not show brings less than
/// [`GAIN_MIN`] however often it is shared out.
const GROWTH_MIN: f64 = 1.01;
/// Ratios of rates nearer than this to what decides are in question.
const DOUBT: f64 = 0.02;
/// After a single measurement, which may have been disturbed, only a rate below this share of the best is out of the question.
const HOPELESS: f64 = 0.6;
/// Measurements of a size that decide, where they are clear and where they are not.
const TURNS: usize = 2;
const TURNS_MAX: usize = 3;

/// The sizes 1, 2, 4, … as far as they have been measured.
#[derive(Debug)]
pub(super) struct Search {
    batch_max: usize,
    points: Vec<Point>,
    /// How often each was measured.
    turns: Vec<usize>,
}

impl Search {
    /// Nothing is measured yet.
    pub(super) fn new(batch_max: usize) -> Self {
        Self {
            batch_max: batch_max.max(1),
            points: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// The size to measure next; `None` where all is decided. `affordable_ms` is what a run may take.
    pub(super) fn next(&self, affordable_ms: f64) -> Option<usize> {
        let Some(last) = self.points.len().checked_sub(1) else {
            return Some(1);
        };
        let (growing, place) = match self.best_of(0..last) {
            None => (true, None),
            Some(before) => self.growth(before, last),
        };
        if affordable_ms <= 0.0 {
            return None;
        }
        let place = match place {
            Some(place) => place,
            None => match growing.then(|| self.larger(affordable_ms)).flatten() {
                Some(larger) => return Some(larger),
                None => self.undecided()?,
            },
        };
        let point = &self.points[place];
        (point.latency_ms <= affordable_ms).then_some(point.batch_size)
    }

    /// No larger size than those that were measured is measured.
    pub(super) fn limit(&mut self) {
        self.batch_max = self.points.iter().map(|point| point.batch_size).max().unwrap_or(1);
    }

    /// Takes note of a measurement.
    pub(super) fn add(&mut self, point: Point) {
        match self
            .points
            .iter()
            .position(|known| known.batch_size == point.batch_size)
        {
            Some(place) => {
                let known = &mut self.points[place].latency_ms;
                *known = known.min(point.latency_ms);
                self.turns[place] += 1;
            }
            None => {
                self.points.push(point);
                self.turns.push(1);
            }
        }
    }

    /// What was measured, by size.
    pub(super) fn into_points(self) -> Vec<Point> {
        self.points
    }

    /// Whether the last size gains over the best one before it, and which of the two to measure again to know.
    fn growth(&self, before: usize, last: usize) -> (bool, Option<usize>) {
        let ratio = self.points[last].rate() / self.points[before].rate();
        let turns = self.turns[last].min(self.turns[before]);
        let clear = !(HOPELESS..=GROWTH_MIN + DOUBT).contains(&ratio)
            || turns >= TURNS && ratio < GROWTH_MIN - DOUBT
            || turns >= TURNS_MAX;
        let again = if self.turns[before] <= self.turns[last] {
            before
        } else {
            last
        };
        (ratio >= GROWTH_MIN, (!clear).then_some(again))
    }

    /// The next larger size, where a run of it would be short enough.
    fn larger(&self, affordable_ms: f64) -> Option<usize> {
        let last = self.points.last()?;
        let size = last.batch_size.checked_mul(2).filter(|size| *size <= self.batch_max)?;
        let expected_ms = last.latency_ms / last.batch_size as f64 * size as f64;
        (expected_ms <= affordable_ms.min(BATCH_MS_MAX)).then_some(size)
    }

    /// Of the sizes that may be chosen, one that has not been measured often enough.
    fn undecided(&self) -> Option<usize> {
        let in_time = self.points.iter().take_while(|point| point.in_time()).count();
        let best = self.best_of(0..in_time)?;
        let best_rate = self.points[best].rate();
        let share = |place: usize| self.points[place].rate() * GAIN_MIN / best_rate;
        let doubtful = |place: &usize| (share(*place) - 1.0).abs() < DOUBT;
        let in_doubt = (0..best).any(|place| doubtful(&place));
        let wanted = |place: &usize| {
            let turns = if in_doubt && (doubtful(place) || *place == best) {
                TURNS_MAX
            } else {
                TURNS
            };
            share(*place) >= HOPELESS && self.turns[*place] < turns
        };
        (0..in_time).filter(wanted).min_by_key(|place| self.turns[*place])
    }

    fn best_of(&self, places: std::ops::Range<usize>) -> Option<usize> {
        places.max_by(|a, b| self.points[*a].rate().total_cmp(&self.points[*b].rate()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Curve;
    use super::super::tests::points;
    use super::*;

    /// Measures with `latency_ms`, of a size and how often it was asked for; returns the sizes asked for and what they led to.
    fn search(batch_max: usize, mut latency_ms: impl FnMut(usize, usize) -> f64) -> (Vec<usize>, Curve) {
        let mut search = Search::new(batch_max);
        let mut asked = Vec::new();
        while let Some(batch_size) = search.next(f64::INFINITY) {
            let before = asked.iter().filter(|size| **size == batch_size).count();
            asked.push(batch_size);
            let latency_ms = latency_ms(batch_size, before);
            search.add(Point { batch_size, latency_ms });
        }
        let narrow = search.into_points();
        (
            asked,
            Curve {
                narrow,
                ..Curve::default()
            },
        )
    }

    #[test]
    fn larger_sizes_are_tried_while_they_gain_and_what_may_win_is_measured_twice() {
        let (asked, curve) = search(16, |size, _| 0.4 + 0.1 * size as f64);
        assert_eq!(asked, [1, 2, 4, 8, 16, 4, 8, 16]);
        assert_eq!(curve.best_batch(), 16);
    }

    #[test]
    fn sizes_that_gain_nothing_end_it() {
        let (asked, curve) = search(16, |size, _| 12.0 * size as f64);
        assert_eq!(asked, [1, 2, 1, 2, 1, 2]);
        assert_eq!(curve.best_batch(), 1);
        let (asked, _) = search(16, |size, _| if size == 1 { 10.0 } else { 22.0 * size as f64 });
        assert_eq!(asked, [1, 2, 1]);
    }

    #[test]
    fn one_disturbed_measurement_decides_nothing() {
        // Two images take 42 ms, but were disturbed at first.
        let (_, curve) = search(2, |size, before| match (size, before) {
            (1, _) => 23.0,
            (_, 0) => 58.5,
            _ => 42.0,
        });
        assert_eq!(curve.narrow, points(&[23.0, 42.0]));
        // And so was the single image.
        let (_, curve) = search(2, |size, before| match (size, before) {
            (1, 0) => 30.0,
            (1, _) => 23.0,
            _ => 46.0,
        });
        assert_eq!(curve.best_batch(), 1);
    }

    #[test]
    fn what_decides_is_measured_once_more_where_it_is_close() {
        // Two images gain 2.5 %.
        let (asked, curve) = search(2, |size, _| if size == 1 { 10.0 } else { 19.51 });
        assert_eq!(asked, [1, 2, 1, 2, 1, 2]);
        assert_eq!(curve.best_batch(), 2);
    }

    #[test]
    fn runs_that_are_too_long_are_not_tried() {
        let (asked, _) = search(16, |size, _| 30.0 + 30.0 * size as f64);
        assert_eq!(asked, [1, 1]);
        let search = Search {
            batch_max: 16,
            points: points(&[8.0]),
            turns: vec![1],
        };
        assert_eq!((search.next(15.0), search.next(7.0)), (Some(1), None));
    }

    #[test]
    fn a_single_size_is_measured_twice() {
        assert_eq!(search(1, |_, _| 1.0).0, [1, 1]);
    }
}
