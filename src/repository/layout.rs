//! What the names in a repository mean. No I/O.

use std::collections::BTreeSet;

use repserve_compile::VersionPolicy;

/// Characters of a model's name at most.
const NAME_CHARS_MAX: usize = 128;

/// Whether a folder's name can be a model's: letters, digits, `-`, `_` and `.`, of which it does not begin with a dot. Names that do are used by
/// Kubernetes (`..data`) and for files in the making.
pub fn is_model_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

/// The version that a folder's name is: a number without leading zeros.
pub fn version_number(name: &str) -> Option<u64> {
    let plain = name.bytes().all(|c| c.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    name.parse().ok().filter(|_| plain)
}

/// Versions that are to be served and are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no version {missing}; there are: {found}")]
pub struct MissingVersion {
    /// The first that is not there.
    pub missing: u64,
    /// Those that are.
    pub found: String,
}

/// Which of the versions `found` are served: as the model says, or else as the settings say.
///
/// # Errors
/// Where one is named that is not there.
pub fn served_versions(
    of_model: Option<&VersionPolicy>,
    of_settings: &VersionPolicy,
    found: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, MissingVersion> {
    let chosen = of_model.unwrap_or(of_settings).choose(found);
    match chosen.difference(found).next() {
        None => Ok(chosen),
        Some(missing) => {
            let found: Vec<String> = found.iter().map(u64::to_string).collect();
            Err(MissingVersion {
                missing: *missing,
                found: found.join(", "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_words_that_begin_with_no_dot() {
        for name in ["a", "RepVGG-A0", "resnet_18.v2", "7"] {
            assert!(is_model_name(name), "{name}");
        }
        for name in ["", ".", "..", "..data", ".git", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(!is_model_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_plain_numbers() {
        let numbers = ["0", "1", "42", "18446744073709551615"].map(version_number);
        assert_eq!(numbers, [Some(0), Some(1), Some(42), Some(u64::MAX)]);
        for name in ["", "01", "+1", "-1", "1.0", "v1", "18446744073709551616"] {
            assert_eq!(version_number(name), None, "{name}");
        }
    }

    #[test]
    fn the_model_says_which_versions_are_served_and_else_the_settings() {
        let found = BTreeSet::from([1, 2, 10]);
        let check = |of_model: Option<VersionPolicy>, expected: &[u64]| {
            let served = served_versions(of_model.as_ref(), &VersionPolicy::Latest, &found);
            assert_eq!(served.unwrap(), expected.iter().copied().collect());
        };
        check(None, &[10]);
        check(Some(VersionPolicy::All), &[1, 2, 10]);
        check(Some(VersionPolicy::List([1, 2].into())), &[1, 2]);
        let missing = served_versions(None, &VersionPolicy::List([1, 3].into()), &found).unwrap_err();
        assert_eq!(missing.to_string(), "there is no version 3; there are: 1, 2, 10");
    }
}
