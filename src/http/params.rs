//! The parameters of the query of `POST /classify`. Pure: text in, values out.

use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use utoipa::IntoParams;

use super::echo::echo;
use super::error::{Code, Problem};

/// The parameters of the query.
#[derive(Debug, Clone, Default, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Params {
    /// The model; the default one if not given.
    #[param(required = false, nullable = false)]
    pub(super) model: Option<String>,
    /// Its version; the newest if not given.
    #[param(required = false, nullable = false)]
    pub(super) version: Option<String>,
    /// Classes of each image.
    #[param(minimum = 1, required = false, nullable = false)]
    pub(super) top_k: Option<usize>,
    /// The longest that it may take, in milliseconds; may only shorten the server's own limit.
    #[param(value_type = usize, minimum = 1, required = false, nullable = false)]
    pub(super) timeout_ms: Option<u64>,
    /// Whether an image that cannot be classified has an `error` in its place, and the others their classes; else the request fails.
    #[param(required = false, nullable = false)]
    pub(super) partial: Option<bool>,
    /// An inner value of the graph to return as well, of those that the model's `output.embeddings` allows.
    #[param(required = false, nullable = false)]
    pub(super) embedding: Option<String>,
}

/// What a number must be, in words.
const POSITIVE: &str = "a whole number, 1 or more";

/// The names of the parameters.
const NAMES: &str = "model, version, top_k, timeout_ms, partial, embedding";

impl Params {
    /// Reads a query: pairs as forms encode them (`application/x-www-form-urlencoded`).
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut params = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.set(&decoded(name), decoded(value))?;
        }
        Ok(params)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Problem> {
        match name {
            "model" => once(&mut self.model, name, value),
            "version" => once(&mut self.version, name, value),
            "top_k" => once(
                &mut self.top_k,
                name,
                parsed::<NonZeroUsize>(name, &value, POSITIVE)?.get(),
            ),
            "timeout_ms" => once(
                &mut self.timeout_ms,
                name,
                parsed::<NonZeroU64>(name, &value, POSITIVE)?.get(),
            ),
            "partial" => once(&mut self.partial, name, parsed(name, &value, "true or false")?),
            "embedding" => once(&mut self.embedding, name, value),
            _ => Err(malformed(format!(
                "there is no parameter {:?}; there are {NAMES}",
                echo(name)
            ))),
        }
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(Code::Malformed, detail)
}

fn once<T>(parameter: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match parameter.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(format!("{name} is given twice"))),
    }
}

fn parsed<T: FromStr>(name: &str, value: &str, wants: &str) -> Result<T, Problem> {
    value
        .parse()
        .map_err(|_| malformed(format!("{name} must be {wants}; it is {:?}", echo(value))))
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_forms_encode_it() {
        let read =
            Params::read("model=a%2Bb&version=1+2&top_k=3&timeout_ms=40&partial=true&embedding=%2Ffeatures&").unwrap();
        let expected = Params {
            model: Some("a+b".to_owned()),
            version: Some("1 2".to_owned()),
            top_k: Some(3),
            timeout_ms: Some(40),
            partial: Some(true),
            embedding: Some("/features".to_owned()),
        };
        assert_eq!(read, expected);
        assert_eq!(Params::read("").unwrap(), Params::default());
        assert_eq!(Params::read("model").unwrap().model.as_deref(), Some(""));
        assert_eq!(Params::read("model=%ff").unwrap().model.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check =
            |query: &str, detail: &str| assert_eq!(Params::read(query).unwrap_err().detail(), detail, "{query}");
        for value in ["abc", "0", "-1", "1.5", "", "99999999999999999999"] {
            let it_is = format!("must be a whole number, 1 or more; it is {value:?}");
            check(&format!("top_k={value}"), &format!("top_k {it_is}"));
            check(&format!("timeout_ms={value}"), &format!("timeout_ms {it_is}"));
        }
        check("partial=maybe", "partial must be true or false; it is \"maybe\"");
        check("top_k=1&top_k=1", "top_k is given twice");
        check(
            "topk=1",
            "there is no parameter \"topk\"; there are model, version, top_k, timeout_ms, partial, embedding",
        );
        let long = "x".repeat(100_000);
        assert!(Params::read(&long).unwrap_err().detail().len() < 300);
    }
}
