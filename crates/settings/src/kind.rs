//! What a type is read from, as its `Deserialize` requests it.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// What a type is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number that may be negative.
    Signed,
    /// A whole number, 0 or more.
    Unsigned,
    /// Any number.
    Float,
    /// A text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// An array.
    Array,
    /// Something else.
    Other,
}

impl Kind {
    /// The kind of `T`; of an `Option`, that of what it holds.
    pub fn of<T: DeserializeOwned>() -> Self {
        T::deserialize(Probe).err().map_or(Self::Other, |Requested(kind)| kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Signed | Self::Unsigned => f.write_str("a whole number"),
            Self::Float => f.write_str("a number"),
            Self::Text => f.write_str("a string"),
            Self::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                match quoted.as_slice() {
                    [first, second] => write!(f, "{first} or {second}"),
                    all => write!(f, "one of {}", all.join(", ")),
                }
            }
            Self::Array => f.write_str("an array"),
            Self::Other => f.write_str("a value"),
        }
    }
}

/// Holds no value: it fails with the kind that is requested of it.
struct Probe;

/// The kind that was requested.
#[derive(Debug, thiserror::Error)]
#[error("{0} was requested")]
struct Requested(Kind);

impl de::Error for Requested {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Kind::Other)
    }
}

macro_rules! request {
    ($($kind:ident: $($method:ident)+;)+) => {
        $($(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Requested> {
            Err(Requested(Kind::$kind))
        })+)+
    };
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Requested;

    request! {
        Bool: deserialize_bool;
        Signed: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64;
        Unsigned: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64;
        Float: deserialize_f32 deserialize_f64;
        Text: deserialize_str deserialize_string;
        Array: deserialize_seq;
        Other: deserialize_any;
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Requested> {
        Err(Requested(Kind::Words(variants)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Requested> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Requested> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its names are read")]
    enum Three {
        First,
        Second,
        Third,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its kind is read")]
    struct Share(f64);

    #[test]
    fn a_type_names_what_it_is_read_from() {
        assert_eq!(Kind::of::<bool>(), Kind::Bool);
        assert_eq!(Kind::of::<i32>(), Kind::Signed);
        assert_eq!(Kind::of::<usize>(), Kind::Unsigned);
        assert_eq!(Kind::of::<Share>(), Kind::Float);
        assert_eq!(Kind::of::<String>(), Kind::Text);
        assert_eq!(Kind::of::<PathBuf>(), Kind::Text);
        assert_eq!(Kind::of::<Option<SocketAddr>>(), Kind::Text);
        assert_eq!(Kind::of::<Three>(), Kind::Words(&["first", "second", "third"]));
        assert_eq!(Kind::of::<Vec<u8>>(), Kind::Array);
        assert_eq!(Kind::of::<char>(), Kind::Other);
    }

    #[test]
    fn kinds_have_words() {
        let check = |kind: Kind, words: &str| assert_eq!(kind.to_string(), words);
        check(Kind::Words(&["on", "off"]), "`on` or `off`");
        check(Kind::of::<Three>(), "one of `first`, `second`, `third`");
        check(Kind::Bool, "true or false");
        check(Kind::Unsigned, "a whole number");
    }
}
