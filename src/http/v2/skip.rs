//! Values that are not known: parsed and dropped, unless they are large, as skipping takes time too.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Values within one that is skipped, at most.
const VALUES_MAX: usize = 1000;
/// How deep they may be nested.
const DEPTH_MAX: usize = 16;

/// Skips a value.
pub(super) struct Skip<'a> {
    /// Values that were skipped within it.
    count: &'a mut usize,
    depth: usize,
}

impl<'a> Skip<'a> {
    /// For a whole value; `count` is 0.
    pub(super) fn new(count: &'a mut usize) -> Self {
        Self { count, depth: 0 }
    }

    /// For a value within this one.
    fn inner<E: Error>(&mut self) -> Result<Skip<'_>, E> {
        *self.count += 1;
        if *self.count > VALUES_MAX || self.depth == DEPTH_MAX {
            return Err(E::custom("a member that is not known is too large"));
        }
        Ok(Skip {
            count: self.count,
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(self.inner()?)?.is_some() {
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, skipped: bool) {
        let outcome = Skip::new(&mut 0).deserialize(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(outcome.is_ok(), skipped, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(
                error.to_string().starts_with("a member that is not known is too large"),
                "{error}"
            );
        }
    }

    #[test]
    fn any_small_value_is_skipped() {
        check(r#"{"a":[1,-1,0.5,true,null,"b\n"],"c":{}}"#, true);
        check(&format!("[{}0]", "0,".repeat(VALUES_MAX - 2)), true);
        check(
            &format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)),
            false,
        );
        check(
            &format!("{}{}", "[".repeat(DEPTH_MAX - 1), "]".repeat(DEPTH_MAX - 1)),
            true,
        );
    }

    #[test]
    fn the_first_value_too_many_ends_it() {
        check(&"[".repeat(10_000), false);
        check(&format!("[{} and no JSON", "0,".repeat(VALUES_MAX + 1)), false);
        check(&format!("[{} and no JSON", "[],".repeat(VALUES_MAX + 1)), false);
        check(&format!("[{} and no JSON", "[0,0],".repeat(VALUES_MAX)), false);
    }
}
