//! How many runs of a graph are enough to measure it: a count of what they took, no clock.

use crate::cpu_time::Elapsed;

/// Milliseconds of CPU time for which rounds go on.
const SPENT_MS: f64 = 60.0;
/// Undisturbed rounds that a network gets in any case, as far as they take no longer than `SPENT_MS_MAX`; the first round, after a
/// warm-up that is timed too, is always whole. Large networks have many layers of a kind, which are judged together.
const UNDISTURBED_MIN: usize = 3;
const SPENT_MS_MAX: f64 = 150.0;
/// The same where something disturbs the rounds: each layer is to run undisturbed in some of them.
const SPENT_MS_MAX_DISTURBED: f64 = 400.0;
const ROUNDS_MAX: usize = 40;

/// A run that waited for a core for longer than this share of its CPU time, and these milliseconds, was disturbed.
const WAITED_SHARE_MAX: f64 = 0.02;
const WAITED_MS_MAX: f64 = 0.05;

/// The rounds so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rounds {
    count: usize,
    undisturbed: usize,
    spent_ms: f64,
}

impl Rounds {
    /// Counts a round, which is this run.
    pub(super) fn add(&mut self, run: &Elapsed) {
        self.count += 1;
        self.undisturbed += usize::from(!disturbed(run));
        self.spent_ms += run.cpu_ms;
    }

    /// Whether there is to be one more.
    pub(super) fn go_on(&self) -> bool {
        let spent_ms_max = if self.undisturbed >= UNDISTURBED_MIN {
            SPENT_MS
        } else if self.undisturbed == self.count {
            SPENT_MS_MAX
        } else {
            SPENT_MS_MAX_DISTURBED
        };
        self.count == 0 || self.count < ROUNDS_MAX && self.spent_ms < spent_ms_max
    }
}

/// Whether the thread had to wait for a core: it was throttled by a quota, or another thread ran.
fn disturbed(run: &Elapsed) -> bool {
    run.wall_ms - run.cpu_ms > WAITED_MS_MAX.max(run.cpu_ms * WAITED_SHARE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rounds there are where every run takes `cpu_ms`, and after it waits for `waited_ms`, in every round but each `quiet`th.
    #[track_caller]
    fn check(cpu_ms: f64, waited_ms: f64, quiet: usize, expected: usize) {
        let mut rounds = Rounds::default();
        let mut count = 0;
        while rounds.go_on() {
            count += 1;
            let waited_ms = if count % quiet == 0 { 0.0 } else { waited_ms };
            let wall_ms = cpu_ms + waited_ms;
            rounds.add(&Elapsed { cpu_ms, wall_ms });
        }
        assert_eq!(count, expected);
    }

    #[test]
    fn small_networks_get_many_rounds_and_large_ones_a_few() {
        check(0.5, 0.0, 1, ROUNDS_MAX);
        check(3.0, 0.0, 1, 20);
        check(25.0, 0.0, 1, 3);
        check(60.0, 0.0, 1, 3);
        check(100.0, 0.0, 1, 2);
        check(1000.0, 0.0, 1, 1);
    }

    #[test]
    fn what_is_disturbed_is_repeated_until_enough_rounds_were_not() {
        check(25.0, 50.0, 2, 6);
        check(25.0, 50.0, usize::MAX, 16);
        check(0.5, 4.0, usize::MAX, ROUNDS_MAX);
    }

    #[test]
    fn the_time_that_a_switch_takes_disturbs_nothing() {
        check(25.0, 0.4, usize::MAX, 3);
        check(0.5, 0.04, usize::MAX, ROUNDS_MAX);
    }
}
