//! How many files this process may have open, which bounds its connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections: models, libraries, the log, the second listener's connections.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit to the hard one. Returns what holds then; `None`: no limit.
pub(super) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current
        }
    }
}

/// The connections that so many files allow. A connection that waits for its client to close holds a file besides those that
/// hold a slot, so each slot may take two.
pub(super) fn connections_max(wanted: usize, files: Option<u64>) -> usize {
    let allowed = files.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX)
    });
    wanted.min(allowed.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: usize, files: Option<u64>, expected: usize) {
        assert_eq!(connections_max(wanted, files), expected);
    }

    #[test]
    fn connections_are_bounded_by_files() {
        check(1024, None, 1024);
        check(1024, Some(1 << 20), 1024);
        check(1024, Some(1024), 384);
        check(100, Some(1024), 100);
        check(1024, Some(10), 1);
        check(usize::MAX, Some(u64::MAX), (usize::MAX - 256) / 2);
    }

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        let files = raise_limit();
        assert_eq!(files, getrlimit(Resource::Nofile).maximum);
        assert_eq!(files, getrlimit(Resource::Nofile).current);
    }
}
