//! The `[repository]` table of a `model.toml`: how a model is served beside others, and which of its versions.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// The `[repository]` table: how a model is served beside others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositorySpec {
    /// Which versions are served. Absent: as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<VersionPolicy>,
    /// Whether the server is ready only while this model is served.
    #[serde(default)]
    pub required: bool,
    /// Its share of the workers relative to other models'. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
}

impl RepositorySpec {
    /// Its share of the workers relative to other models'.
    pub fn weight(&self) -> u32 {
        self.weight.map_or(1, |weight| weight.get().min(WEIGHT_MAX))
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The largest share of a model relative to others.
const WEIGHT_MAX: u32 = 1000;

/// Which of a model's versions are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// The largest number.
    #[default]
    Latest,
    /// Every one.
    All,
    /// These.
    List(BTreeSet<u64>),
}

impl VersionPolicy {
    /// Those of the versions found that are served.
    pub fn choose(&self, found: &BTreeSet<u64>) -> BTreeSet<u64> {
        match self {
            Self::Latest => found.last().copied().into_iter().collect(),
            Self::All => found.clone(),
            Self::List(list) => list.clone(),
        }
    }
}

/// In files: the word `latest` or `all`, or an array of numbers; in text also numbers with commas between.
#[derive(Deserialize)]
#[serde(untagged)]
enum PolicyText {
    Word(String),
    List(BTreeSet<u64>),
}

impl FromStr for VersionPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTS: &str = "latest, all, or version numbers, such as \"1,3\"";
        match text.trim() {
            "latest" => Ok(Self::Latest),
            "all" => Ok(Self::All),
            list => {
                let numbers = list.split(',').map(|number| number.trim().parse());
                numbers.collect::<Result<_, _>>().map(Self::List).map_err(|_| WANTS)
            }
        }
    }
}

impl fmt::Display for VersionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::All => f.write_str("all"),
            Self::List(list) => {
                let numbers: Vec<String> = list.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

impl Serialize for VersionPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match PolicyText::deserialize(deserializer) {
            Ok(PolicyText::Word(word)) => word.parse().map_err(D::Error::custom),
            Ok(PolicyText::List(list)) => Ok(Self::List(list)),
            Err(_) => Err(D::Error::custom(
                "latest, all, or an array of version numbers is possible",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_a_word_or_a_list() {
        let with = |policy: &str| {
            let text = format!("versions = {policy}\nrequired = true\nweight = 3\n");
            toml::from_str::<RepositorySpec>(&text)
        };
        let found = BTreeSet::from([1, 2, 10]);
        let check = |policy: &str, expected: &[u64]| {
            let spec = with(policy).unwrap();
            let chosen = spec.versions.clone().unwrap_or_default().choose(&found);
            assert_eq!(chosen, expected.iter().copied().collect());
            assert_eq!((spec.required, spec.weight()), (true, 3));
            let text = spec.versions.as_ref().unwrap().to_string();
            assert_eq!(text.parse(), Ok(spec.versions.unwrap()));
        };
        check("\"latest\"", &[10]);
        check("\"all\"", &[1, 2, 10]);
        check("[1, 10]", &[1, 10]);
        check("\"1, 7\"", &[1, 7]);
        assert!(with("\"newest\"").is_err() && with("3").is_err());
    }
}
