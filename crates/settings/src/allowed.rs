//! Which values of its type a key takes.

use std::fmt::Display;
use std::ops::{RangeFrom, RangeInclusive};

/// Which values a key of type `T` in the section `S` takes. Ranges are the common case.
pub trait Allowed<S, T> {
    /// The values in words, such as "1 to 1000".
    fn words(&self) -> String;

    /// Whether `value` is one of them, in a section that holds it.
    fn holds(&self, section: &S, value: &T) -> bool;
}

impl<S, T: PartialOrd + Display> Allowed<S, T> for RangeInclusive<T> {
    fn words(&self) -> String {
        format!("{} to {}", self.start(), self.end())
    }

    fn holds(&self, _: &S, value: &T) -> bool {
        self.contains(value)
    }
}

impl<S, T: PartialOrd + Display> Allowed<S, T> for RangeFrom<T> {
    fn words(&self) -> String {
        format!("at least {}", self.start)
    }

    fn holds(&self, _: &S, value: &T) -> bool {
        self.contains(value)
    }
}

/// The longest time that a key may set, in milliseconds: a day.
const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// See [`time_ms`].
#[derive(Debug, Clone, Copy)]
pub struct TimeMs {
    ms_min: u64,
}

/// Milliseconds, from `ms_min` to a day.
pub const fn time_ms(ms_min: u64) -> TimeMs {
    TimeMs { ms_min }
}

impl<S> Allowed<S, u64> for TimeMs {
    fn words(&self) -> String {
        format!("{} to {TIME_MS_MAX}, a day", self.ms_min)
    }

    fn holds(&self, _: &S, value: &u64) -> bool {
        (self.ms_min..=TIME_MS_MAX).contains(value)
    }
}

/// See [`zero_or`].
#[derive(Debug, Clone, Copy)]
pub struct ZeroOr<A> {
    meaning: &'static str,
    otherwise: A,
}

/// 0, which has a `meaning` of its own, or what is allowed `otherwise`.
pub fn zero_or<A>(meaning: &'static str, otherwise: A) -> ZeroOr<A> {
    ZeroOr { meaning, otherwise }
}

impl<S, T: Default + PartialEq, A: Allowed<S, T>> Allowed<S, T> for ZeroOr<A> {
    fn words(&self) -> String {
        format!("0: {}, or {}", self.meaning, self.otherwise.words())
    }

    fn holds(&self, section: &S, value: &T) -> bool {
        *value == T::default() || self.otherwise.holds(section, value)
    }
}

/// See [`text_form`].
#[derive(Debug, Clone, Copy)]
pub struct TextForm {
    words: &'static str,
}

/// The form of a text that the key's type reads and checks.
pub const fn text_form(words: &'static str) -> TextForm {
    TextForm { words }
}

impl<S, T> Allowed<S, T> for TextForm {
    fn words(&self) -> String {
        self.words.to_owned()
    }

    fn holds(&self, _: &S, _: &T) -> bool {
        true
    }
}

/// See [`rule`].
#[derive(Debug, Clone, Copy)]
pub struct Rule<S> {
    words: &'static str,
    holds: fn(&S) -> bool,
}

/// A rule of its own, which may read the section's other keys.
pub const fn rule<S>(words: &'static str, holds: fn(&S) -> bool) -> Rule<S> {
    Rule { words, holds }
}

impl<S, T> Allowed<S, T> for Rule<S> {
    fn words(&self) -> String {
        self.words.to_owned()
    }

    fn holds(&self, section: &S, _: &T) -> bool {
        (self.holds)(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T>(allowed: impl Allowed<T, T>, words: &str, good: &[T], bad: &[T]) {
        assert_eq!(allowed.words(), words);
        assert!(good.iter().all(|value| allowed.holds(value, value)));
        assert!(!bad.iter().any(|value| allowed.holds(value, value)));
    }

    #[test]
    fn what_is_allowed_is_checked_and_put_into_words() {
        check(1.., "at least 1", &[1, 2, u64::MAX], &[0]);
        check(0.0..=1.0, "0 to 1", &[0.0, 0.5, 1.0], &[-0.1, 1.1, f64::NAN]);
        check(0.0.., "at least 0", &[0.0, f64::INFINITY], &[-1.0, f64::NAN]);
        let day = 86_400_000;
        check(time_ms(1), "1 to 86400000, a day", &[1, day], &[0, day + 1]);
        check(time_ms(0), "0 to 86400000, a day", &[0, day], &[day + 1]);
        check(
            zero_or("measured", 4_usize..),
            "0: measured, or at least 4",
            &[0, 4],
            &[1, 3],
        );
        check(rule("even", |n: &u64| n.is_multiple_of(2)), "even", &[0, 2], &[1]);
        check(text_form("a name"), "a name", &[""], &[]);
    }
}
