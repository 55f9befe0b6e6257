//! When the n-th of many equal runs starts, on workers that take one after the other.

use std::time::Duration;

/// When run `n` starts, counted from 0, where each takes `turn` and worker i is busy for `busy[i]` before it takes one; at once where there is
/// no worker.
pub(crate) fn nth_start(busy: &[Duration], turn: Duration, n: u64) -> Duration {
    let turn_ns = turn.as_nanos().max(1);
    let started_by = |at: u128| -> u128 {
        let runs = |busy: &Duration| at.checked_sub(busy.as_nanos()).map_or(0, |since| since / turn_ns + 1);
        busy.iter().map(runs).sum()
    };
    let Some(first_free) = busy.iter().map(Duration::as_nanos).min() else {
        return Duration::ZERO;
    };
    let (mut low, mut high) = (first_free, first_free + turn_ns * u128::from(n));
    while low < high {
        let middle = low.midpoint(high);
        if started_by(middle) > u128::from(n) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Duration::from_nanos(u64::try_from(low).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_run_waits_for_the_worker_that_is_free_first() {
        let busy = [10 * MS, 30 * MS];
        let starts: Vec<Duration> = (0..5).map(|n| nth_start(&busy, 15 * MS, n)).collect();
        assert_eq!(starts, [10 * MS, 25 * MS, 30 * MS, 40 * MS, 45 * MS]);
        assert_eq!(nth_start(&[], MS, 3), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn it_is_what_workers_do(busy in prop::collection::vec(0_u64..200, 1..9), turn in 1_u64..50, n in 0_u64..60) {
            let busy: Vec<Duration> = busy.into_iter().map(Duration::from_millis).collect();
            let turn = Duration::from_millis(turn);
            let mut free_at = busy.clone();
            let mut start = Duration::ZERO;
            for _ in 0..=n {
                let worker = free_at.iter_mut().min().unwrap();
                start = *worker;
                *worker += turn;
            }
            prop_assert_eq!(nth_start(&busy, turn, n), start);
        }
    }
}
