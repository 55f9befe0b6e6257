//! API keys: which requests need one, and whether one is right.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::SecurityError;
use super::files::FromFiles;
use crate::http::Shared;
use crate::http::error::{Code, Problem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Keys below this length can be guessed.
const KEY_BYTES_MIN: usize = 16;
/// The largest share of a key relative to others.
const WEIGHT_MAX: u32 = 1000;

/// The keys of a file: one a line, `#` begins a comment. Several, so that they can be exchanged one after the other. Behind a key may
/// stand `weight=N`: its share of the workers relative to other clients', which have 1.
#[derive(Debug)]
pub struct Keys(FromFiles<Vec<Known>>);

/// A key that is one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Known {
    /// Its SHA-256.
    pub(in crate::http) digest: [u8; 32],
    /// Its share of the workers relative to other clients'.
    pub(in crate::http) weight: u32,
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, holds no key, one that is shorter than 16 bytes, or something else.
    pub fn open(file: PathBuf) -> Result<Self, SecurityError> {
        FromFiles::open(vec![file], |bytes| read(&bytes[0]).map_err(|reason| (0, reason))).map(Self)
    }

    /// Reads the file again. Whether it had changed.
    ///
    /// # Errors
    /// As [`Keys::open`]; the keys in force stay.
    pub fn refresh(&self) -> Result<bool, SecurityError> {
        self.0.refresh()
    }

    /// Whether a key is one of them. Takes as long for a wrong key as for a right one: what is compared are digests, all of
    /// them and whole.
    pub fn accept(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The key, where it is one of them. Takes as long as [`Keys::accept`].
    pub(in crate::http) fn find(&self, key: &[u8]) -> Option<Known> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (mut found, mut weight) = (Choice::from(0), 1);
        for known in self.0.get().iter() {
            let same = known.digest.ct_eq(&digest);
            weight = u32::conditional_select(&weight, &known.weight, same);
            found |= same;
        }
        bool::from(found).then_some(Known { digest, weight })
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Known>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(key) = words.next() else {
            continue;
        };
        if key.len() < KEY_BYTES_MIN {
            return Err(format!(
                "line {}: a key must have at least {KEY_BYTES_MIN} bytes; `openssl rand -hex 32` makes one",
                index + 1
            ));
        }
        let weight = match (words.next(), words.next()) {
            (None, _) => 1,
            (Some(word), None) => weight(word).ok_or_else(|| unknown(index, word))?,
            (Some(_), Some(word)) => return Err(unknown(index, word)),
        };
        let digest = Sha256::digest(key.as_bytes()).into();
        keys.push(Known { digest, weight });
    }
    if keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    Ok(keys)
}

/// The weight that a word behind a key gives it.
fn weight(word: &str) -> Option<u32> {
    let weight = word.strip_prefix("weight=")?.parse().ok()?;
    (1..=WEIGHT_MAX).contains(&weight).then_some(weight)
}

/// The word is not repeated: it may be a part of a key.
fn unknown(index: usize, word: &str) -> String {
    format!(
        "line {}: behind a key may stand `weight=N`, N from 1 to {WEIGHT_MAX}; found a word of {} bytes that is not that",
        index + 1,
        word.len()
    )
}

/// The layer of routes that need a key where keys are set.
pub(in crate::http) async fn require_key(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(keys) = &shared.security.keys else {
        return next.run(request).await;
    };
    match presented_key(request.headers()) {
        Some(key) if keys.accept(key) => next.run(request).await,
        presented_key => {
            let detail = match presented_key {
                Some(_) => "the API key is wrong",
                None => "send an API key as `authorization: Bearer KEY` or `x-api-key: KEY`",
            };
            let mut response = Problem::new(Code::Unauthorized, detail).into_response();
            let challenge = HeaderValue::from_static("Bearer realm=\"repserve\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

/// The key that a request presents.
pub(in crate::http) fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = |value: &'_ HeaderValue| -> Option<usize> {
        let scheme = value.as_bytes().get(..7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(7)
    };
    if let Some(value) = headers.get(API_KEY) {
        return Some(value.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?;
    bearer(value).map(|at| value.as_bytes()[at..].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, message: &str) {
        assert_eq!(read(file.as_bytes()).unwrap_err(), message);
    }

    #[test]
    fn a_file_of_keys_says_what_is_wrong() {
        check("", "it holds no key");
        check("# none\n", "it holds no key");
        check(
            "0123456789abcdef\nshort # weak\n",
            "line 2: a key must have at least 16 bytes; `openssl rand -hex 32` makes one",
        );
        assert_eq!(read(b"0123456789abcdef # old\n\nfedcba9876543210\n").unwrap().len(), 2);
        let odd = "line 1: behind a key may stand `weight=N`, N from 1 to 1000; found a word of";
        check("0123456789abcdef weight=0", &format!("{odd} 8 bytes that is not that"));
        check(
            "0123456789abcdef weight=1001",
            &format!("{odd} 11 bytes that is not that"),
        );
        check("0123456789abcdef wieght=2", &format!("{odd} 8 bytes that is not that"));
        check(
            "0123456789abcdef weight=2 x",
            &format!("{odd} 1 bytes that is not that"),
        );
    }

    #[test]
    fn a_key_may_have_a_weight() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef\nfedcba9876543210  weight=7 # twice\n").unwrap();
        let keys = Keys::open(file.path().to_owned()).unwrap();
        let weight = |key: &[u8]| keys.find(key).map(|known| known.weight);
        assert_eq!(weight(b"0123456789abcdef"), Some(1));
        assert_eq!(weight(b"fedcba9876543210"), Some(7));
        assert_eq!(weight(b"fedcba9876543210  weight=7"), None);
    }

    #[test]
    fn keys_follow_their_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        let keys = Keys::open(file.path().to_owned()).unwrap();
        assert!(keys.accept(b"0123456789abcdef"));
        assert!(!keys.accept(b"0123456789abcdeg"));
        assert!(!keys.accept(b""));
        assert!(!keys.refresh().unwrap());

        std::fs::write(file.path(), "fedcba9876543210").unwrap();
        assert!(keys.refresh().unwrap());
        assert!(!keys.accept(b"0123456789abcdef"));
        assert!(keys.accept(b"fedcba9876543210"));

        std::fs::write(file.path(), "short").unwrap();
        assert!(keys.refresh().is_err());
        assert!(keys.accept(b"fedcba9876543210"));
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        let with = |name: HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            presented_key(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(with(API_KEY, "abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(with(AUTHORIZATION, "Bearer abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(with(AUTHORIZATION, "bearer abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(with(AUTHORIZATION, "Basic abc"), None);
        assert_eq!(with(AUTHORIZATION, "B"), None);
    }
}
