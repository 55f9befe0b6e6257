//! A section: its keys, and the macro that declares them.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use crate::{Allowed, Kind};

/// A key of a section, as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// The lines of its documentation, each as it follows `///`.
    pub doc: &'static [&'static str],
    /// What it takes, in words.
    pub wants: String,
}

/// A value has the right type and is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: wants {wants}, found {found}")]
pub struct Refused {
    /// The key within its section.
    pub key: &'static str,
    /// What the key takes, in words.
    pub wants: String,
    /// The value.
    pub found: String,
}

/// A section of settings; [`settings!`](crate::settings) implements it.
pub trait Section {
    /// The lines of the section's documentation, each as it follows `///`.
    const DOC: &'static [&'static str];

    /// All keys, in the order of their declaration.
    fn keys() -> Vec<Key>;

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is not allowed.
    fn check(&self) -> Result<(), Refused>;
}

/// What a key of type `T` takes, in words: the kind of its type, and which values of it are allowed where not all are.
pub fn wants<T: DeserializeOwned>(allowed: Option<String>) -> String {
    match (Kind::of::<T>(), allowed) {
        (kind, Some(allowed)) => format!("{kind} ({allowed})"),
        (kind @ Kind::Unsigned, None) => format!("{kind} (at least 0)"),
        (kind, None) => kind.to_string(),
    }
}

/// Checks the value of one key.
///
/// # Errors
/// Where it is not allowed.
pub fn check<S, T: DeserializeOwned + Debug>(
    key: &'static str,
    allowed: &impl Allowed<S, T>,
    section: &S,
    value: &T,
) -> Result<(), Refused> {
    if allowed.holds(section, value) {
        return Ok(());
    }
    Err(Refused {
        key,
        wants: wants::<T>(Some(allowed.words())),
        found: format!("{value:?}"),
    })
}

/// Declares a section. A key is its documentation, attributes for serde where its type needs them, which values are allowed where not all
/// are (anything that is [`Allowed`](crate::Allowed): a range, [`time_ms`](crate::time_ms), [`zero_or`](crate::zero_or),
/// [`rule`](crate::rule), [`text_form`](crate::text_form)), and name, type and default. In this order:
///
/// ```
/// # use repserve_settings::settings;
/// settings! {
///     /// What the queue holds.
///     #[derive(Eq)]
///     pub struct QueueSettings {
///         /// Items that may wait.
///         #[serde(alias = "length")]
///         #[allowed(1..)]
///         capacity: usize = 256,
///     }
/// }
/// ```
///
/// The struct has `Debug`, `Clone`, `PartialEq`, `Serialize`, `Deserialize` (absent keys have their default, unknown ones are an error),
/// what `derive` names besides, `Default` and [`Section`](crate::Section). The crate that uses it needs `serde` with its feature `derive`.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $section_doc:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $(#[allowed($allowed:expr)])?
                $key:ident: $type:ty = $default:expr,
            )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize $(, $($derived),+)?)]
        #[serde(default, deny_unknown_fields)]
        $vis struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)+)])?
                $vis $key: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::Section for $name {
            const DOC: &'static [&'static str] = &[$($section_doc),+];

            fn keys() -> Vec<$crate::Key> {
                vec![$($crate::Key {
                    name: stringify!($key),
                    doc: &[$($doc),+],
                    wants: $crate::wants::<$type>(
                        None $(.or(Some($crate::Allowed::<Self, $type>::words(&$allowed))))?
                    ),
                }),+]
            }

            fn check(&self) -> Result<(), $crate::Refused> {
                $($($crate::check(stringify!($key), &$allowed, self, &self.$key)?;)?)+
                Ok(())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::{Section, rule, text_form, zero_or};

    settings! {
        /// What a client may cost.
        ///
        /// Two lines of text.
        #[derive(Eq)]
        struct CostSettings {
            /// Where clients connect.
            #[allowed(text_form("an address and port"))]
            listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 80)),
            /// Bytes of one item.
            #[allowed(1..)]
            item_bytes_max: usize = 10,
            /// Bytes of one request.
            ///
            /// 0: as many as there are.
            #[serde(alias = "bytes_max")]
            #[allowed(zero_or("as many as there are", rule(
                "at least item_bytes_max",
                |cost: &CostSettings| cost.request_bytes_max >= cost.item_bytes_max,
            )))]
            request_bytes_max: usize = 40,
            /// Any number at all.
            seed: u64 = 7,
        }
    }

    #[test]
    fn keys_are_described_in_order() {
        let described: Vec<String> = CostSettings::keys()
            .into_iter()
            .map(|key| format!("{}:{} ({})", key.name, key.doc.join(""), key.wants))
            .collect();
        assert_eq!(
            described,
            [
                "listen: Where clients connect. (a string (an address and port))",
                "item_bytes_max: Bytes of one item. (a whole number (at least 1))",
                "request_bytes_max: Bytes of one request. 0: as many as there are. \
                 (a whole number (0: as many as there are, or at least item_bytes_max))",
                "seed: Any number at all. (a whole number (at least 0))",
            ]
        );
        assert_eq!(
            CostSettings::DOC,
            [" What a client may cost.", "", " Two lines of text."]
        );
    }

    #[test]
    fn absent_keys_have_their_default_and_unknown_ones_are_refused() {
        let read = serde_json::from_str::<CostSettings>;
        assert_eq!(read("{}").unwrap(), CostSettings::default());
        assert_eq!(read("{\"bytes_max\": 50}").unwrap().request_bytes_max, 50);
        assert!(
            read("{\"item_bytes\": 1}")
                .unwrap_err()
                .to_string()
                .contains("item_bytes")
        );
    }

    #[test]
    fn the_first_value_that_is_not_allowed_is_the_error() {
        let check = |item_bytes_max, request_bytes_max, expected: Option<&str>| {
            let cost = CostSettings {
                item_bytes_max,
                request_bytes_max,
                ..CostSettings::default()
            };
            assert_eq!(
                cost.check().err().map(|refused| refused.to_string()).as_deref(),
                expected
            );
        };
        check(10, 10, None);
        check(10, 0, None);
        check(
            0,
            40,
            Some("`item_bytes_max`: wants a whole number (at least 1), found 0"),
        );
        check(
            10,
            9,
            Some(
                "`request_bytes_max`: wants a whole number (0: as many as there are, or at least item_bytes_max), found 9",
            ),
        );
    }
}
