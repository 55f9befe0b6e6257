//! JSON read member by member: what is not known is skipped, what is kept is bounded, and no error repeats what was sent.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::skip::Skip;
use crate::http::echo::echo;

/// Bytes of a text that is kept, such as a name or an id, at most.
pub(super) const TEXT_BYTES_MAX: usize = 1024;
/// Members of one object at most.
pub(super) const MEMBERS_MAX: usize = 64;

/// An object that is read.
pub(super) trait Members {
    /// What it is called in errors.
    const NAME: &'static str;

    /// Reads the value of a member, or skips it with [`skip`].
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// An array that is read.
pub(super) trait Elements {
    /// What it is called in errors.
    const NAME: &'static str;

    /// Reads the next element; returns whether there was one.
    fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error>;
}

/// Reads an object into its reader.
pub(super) struct Object<'a, M>(pub(super) &'a mut M);

/// Reads an array into its reader.
pub(super) struct Array<'a, E>(pub(super) &'a mut E);

/// Skips the value of a member.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value_seed(Skip::new(&mut 0))
}

/// The error of a text where there should be none; serde's own would repeat all of it.
pub(super) fn no_text<E: Error>(expected: &dyn serde::de::Expected) -> E {
    E::invalid_type(Unexpected::Other("a string"), expected)
}

impl<'de, M: Members> DeserializeSeed<'de> for Object<'_, M> {
    type Value = ();

    // The error of `deserialize_map` for a string repeats all of it.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, M: Members> Visitor<'de> for Object<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an object", M::NAME)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(no_text(&self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("{} has {:?} twice", M::NAME, echo(&key))));
            }
            if seen.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format_args!(
                    "{} has more than {MEMBERS_MAX} members",
                    M::NAME
                )));
            }
            self.0.member(&key, &mut map)?;
            seen.push(key);
        }
        Ok(())
    }
}

impl<'de, S: Elements> DeserializeSeed<'de> for Array<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Elements> Visitor<'de> for Array<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an array", S::NAME)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(no_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.0.element(&mut seq)? {}
        Ok(())
    }
}

/// A member's name.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(key) => Ok(Self(key)),
            _ => Err(D::Error::custom(format_args!(
                "a member's name has more than {TEXT_BYTES_MAX} bytes"
            ))),
        }
    }
}

/// A value that is neither array nor object, or what stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Flag(bool),
    Whole(u64),
    /// A number that is negative or has a fraction.
    Number,
    Text(String),
    /// A text of more than [`TEXT_BYTES_MAX`] bytes.
    LongText,
    /// An array or an object.
    Nested,
}

impl Scalar {
    /// The value of `member`, which is true, false or null.
    pub(super) fn flag<E: Error>(self, member: &str) -> Result<Option<bool>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Flag(flag) => Ok(Some(flag)),
            _ => Err(E::custom(format_args!("`{member}` must be true or false"))),
        }
    }

    /// The value of `member`, which is a whole number or null.
    pub(super) fn whole<E: Error>(self, member: &str) -> Result<Option<u64>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Whole(n) => Ok(Some(n)),
            _ => Err(E::custom(format_args!("`{member}` must be a whole number, 0 or more"))),
        }
    }

    /// The value of `member`, which is a string or null.
    pub(super) fn text<E: Error>(self, member: &str) -> Result<Option<String>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::LongText => Err(E::custom(format_args!(
                "`{member}` has more than {TEXT_BYTES_MAX} bytes"
            ))),
            _ => Err(E::custom(format_args!("`{member}` must be a string"))),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(flag))
            }

            fn visit_u64<E: Error>(self, n: u64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(n))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(if text.len() > TEXT_BYTES_MAX {
                    Scalar::LongText
                } else {
                    Scalar::Text(text.to_owned())
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
                Skip::new(&mut 0).visit_seq(seq).map(|()| Scalar::Nested)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
                Skip::new(&mut 0).visit_map(map).map(|()| Scalar::Nested)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object that keeps nothing but its one array.
    #[derive(Default)]
    struct Sums(u64);

    impl Members for Sums {
        const NAME: &'static str = "the test";

        fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
            match key {
                "all" => map.next_value_seed(Array(self)),
                _ => skip(map),
            }
        }
    }

    impl Elements for Sums {
        const NAME: &'static str = "`all`";

        fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
            let Some(element) = seq.next_element::<Scalar>()? else {
                return Ok(false);
            };
            self.0 += element.whole("all")?.unwrap_or(0);
            Ok(true)
        }
    }

    #[track_caller]
    fn check(json: &str, expected: Result<u64, &str>) {
        let mut sums = Sums::default();
        let read = Object(&mut sums).deserialize(&mut serde_json::Deserializer::from_str(json));
        match (read, expected) {
            (Ok(()), Ok(sum)) => assert_eq!(sums.0, sum),
            (Err(error), Err(message)) => {
                let error = error.to_string();
                assert!(error.starts_with(message) && error.len() < 200, "{error}");
            }
            (read, expected) => panic!("{read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn known_members_are_read_and_others_skipped() {
        check(r#"{"x":{"all":[7]},"all":[1,2],"y":[[[]]]}"#, Ok(3));
        let large = format!(r#"{{"x":{}{},"all":[1]}}"#, "[".repeat(100), "]".repeat(100));
        check(&large, Err("a member that is not known is too large"));
    }

    #[test]
    fn no_error_repeats_what_was_sent() {
        let long = "x".repeat(1 << 20);
        check(
            &format!("\"{long}\""),
            Err("invalid type: a string, expected the test as an object"),
        );
        check(
            &format!("{{\"all\":\"{long}\"}}"),
            Err("invalid type: a string, expected `all` as an array"),
        );
        check(
            &format!("{{\"all\":[\"{long}\"]}}"),
            Err("`all` must be a whole number"),
        );
        check(
            &format!("{{\"{long}\":1}}"),
            Err("a member's name has more than 1024 bytes"),
        );
        let key = &long[..TEXT_BYTES_MAX];
        check(&format!("{{\"{key}\":1,\"{key}\":1}}"), Err("the test has \"xxx"));
    }

    #[test]
    fn members_are_limited() {
        let members = |n: usize| (0..n).map(|i| format!("\"{i}\":1")).collect::<Vec<_>>().join(",");
        check(&format!("{{{}}}", members(MEMBERS_MAX)), Ok(0));
        check(
            &format!("{{{}}}", members(MEMBERS_MAX + 1)),
            Err("the test has more than 64 members"),
        );
    }

    #[test]
    fn values_are_what_they_must_be() {
        check(r#"{"all":[-1]}"#, Err("`all` must be a whole number"));
        check(r#"{"all":[1.5]}"#, Err("`all` must be a whole number"));
        check(r#"{"all":[[1]]}"#, Err("`all` must be a whole number"));
        check(r#"{"all":[null]}"#, Ok(0));
        check("[]", Err("invalid type: sequence, expected the test as an object"));
        check(r#"{"all":{}}"#, Err("invalid type: map, expected `all` as an array"));
    }
}
