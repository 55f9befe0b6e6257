//! API keys: which requests need one, and whether one is right.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::SecurityError;
use super::files::FromFiles;
use crate::http::Shared;
use crate::http::error::{Code, Problem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Keys below this length can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// The keys of a file: one a line, `#` begins a comment. Several, so that they can be exchanged one after the other.
#[derive(Debug)]
pub struct Keys(FromFiles<Vec<[u8; 32]>>);

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, holds no key, or one that is shorter than 16 bytes.
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
        let digest: [u8; 32] = Sha256::digest(key).into();
        let keys = self.0.get();
        let found = keys
            .iter()
            .fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
        found.into()
    }
}

fn read(bytes: &[u8]) -> Result<Vec<[u8; 32]>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let key = line.split('#').next().unwrap_or_default().trim();
        if key.is_empty() {
            continue;
        }
        if key.len() < KEY_BYTES_MIN {
            return Err(format!(
                "line {}: a key must have at least {KEY_BYTES_MIN} bytes",
                index + 1
            ));
        }
        keys.push(Sha256::digest(key.as_bytes()).into());
    }
    if keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    Ok(keys)
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
            "line 2: a key must have at least 16 bytes",
        );
        assert_eq!(read(b"0123456789abcdef # old\n\nfedcba9876543210\n").unwrap().len(), 2);
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
