//! Which of some changes may be made: those that pass a check that all of them together do not.

/// Checks at most; what has not been found to pass by then is left out.
const CHECKS_MAX: usize = 24;

/// Finds a large set of `count` changes that passes; `passes` is told of each change whether it is made. All of them are known to
/// fail, and none is taken to pass. Groups of changes are halved until they pass or are single.
///
/// # Errors
/// What `passes` reports.
pub(super) fn largest_passing<E>(
    count: usize,
    mut passes: impl FnMut(&[bool]) -> Result<bool, E>,
) -> Result<Vec<bool>, E> {
    let mut made = vec![false; count];
    let mut groups = halves(0, count);
    let mut checks = 0;
    while let Some((start, end)) = groups.pop() {
        if checks == CHECKS_MAX {
            break;
        }
        checks += 1;
        made[start..end].fill(true);
        if !passes(&made)? {
            made[start..end].fill(false);
            groups.extend(halves(start, end));
        }
    }
    Ok(made)
}

/// Both halves of a group, the first one last; none of a single change.
fn halves(start: usize, end: usize) -> Vec<(usize, usize)> {
    let middle = start + (end - start) / 2;
    match end - start {
        0 | 1 => Vec::new(),
        _ => vec![(middle, end), (start, middle)],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made where the changes `wrong` fail, and the number of checks.
    fn find(count: usize, wrong: &[usize]) -> (Vec<bool>, usize) {
        let mut checks = 0;
        let made = largest_passing(count, |made| {
            checks += 1;
            Ok::<_, ()>(!wrong.iter().any(|i| made[*i]))
        });
        (made.unwrap(), checks)
    }

    #[test]
    fn one_that_fails_is_found_among_many() {
        let (made, checks) = find(64, &[37]);
        assert_eq!(made.iter().filter(|made| !**made).count(), 1);
        assert!(!made[37] && checks <= 12, "{checks} checks");
    }

    #[test]
    fn a_single_one_is_left_out_without_a_check() {
        assert_eq!(find(1, &[0]), (vec![false], 0));
        assert_eq!(find(0, &[]), (vec![], 0));
    }

    proptest! {
        #[test]
        fn what_is_made_passes_and_checks_are_bounded(
            count in 1usize..100,
            wrong in prop::collection::vec(0usize..100, 1..5),
        ) {
            let wrong: Vec<usize> = wrong.into_iter().map(|i| i % count).collect();
            let (made, checks) = find(count, &wrong);
            prop_assert!(wrong.iter().all(|i| !made[*i]));
            prop_assert!(checks <= CHECKS_MAX);
        }
    }
}
