//! Which files of a cache to remove: a function of what lies there.

use std::time::SystemTime;

/// A file of the cache.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// When it was last opened, as far as that is known, or written.
    pub(super) used: SystemTime,
}

/// The entries to remove so that all of them together hold at most `bytes_max`: those first that have not been used for the longest.
/// `kept` stays in any case.
pub(super) fn surplus(mut entries: Vec<Seen>, kept: &str, bytes_max: u64) -> Vec<String> {
    let mut held: u64 = entries.iter().map(|entry| entry.bytes).fold(0, u64::saturating_add);
    entries.retain(|entry| entry.name != kept);
    entries.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
    let mut removed = Vec::new();
    for entry in entries {
        if held <= bytes_max {
            break;
        }
        held -= entry.bytes;
        removed.push(entry.name);
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(bytes_max: u64, kept: &str, expected: &[&str]) {
        let entries = [("a", 10, 3), ("b", 20, 1), ("c", 30, 2)];
        let seen = |(name, bytes, used): (&str, u64, u64)| Seen {
            name: name.to_owned(),
            bytes,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
        };
        assert_eq!(surplus(entries.map(seen).to_vec(), kept, bytes_max), expected);
    }

    #[test]
    fn what_was_not_used_for_the_longest_goes_first() {
        check(60, "a", &[]);
        check(59, "a", &["b"]);
        check(30, "a", &["b", "c"]);
    }

    #[test]
    fn what_was_just_written_stays() {
        check(59, "b", &["c"]);
        check(0, "b", &["c", "a"]);
    }
}
