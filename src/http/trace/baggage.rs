//! W3C Baggage: what a caller says of a request to all that serve it.

use axum::http::{HeaderMap, HeaderName};

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// As much as everyone must take (W3C Baggage, section 3.3.2).
const BYTES_MAX: usize = 8192;
const MEMBERS_MAX: usize = 64;

/// Keys and values of a request's headers, in order; a key that comes again counts once, with its last value.
pub(super) fn of(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines: Vec<&[u8]> = headers.get_all(BAGGAGE).iter().map(|value| value.as_bytes()).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    parse(&lines.join(&b','))
}

/// Members `key=value;properties` between commas, as section 3.3.1 has them. What is none is left out, and so is what exceeds the limits.
pub(in crate::http) fn parse(header: &[u8]) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let (mut bytes, mut members) = (0, 0);
    for member in header.split(|byte| *byte == b',') {
        bytes += member.len() + 1;
        if bytes > BYTES_MAX + 1 || members == MEMBERS_MAX {
            break;
        }
        let Some((key, value)) = entry(member) else {
            continue;
        };
        members += 1;
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => entries.push((key, value)),
        }
    }
    entries
}

fn entry(member: &[u8]) -> Option<(String, String)> {
    let pair = member.split(|byte| *byte == b';').next()?;
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?.trim_ascii());
    let is_token = !key.is_empty() && key.iter().all(|byte| is_token_byte(*byte));
    let key = std::str::from_utf8(key).ok().filter(|_| is_token)?;
    let value = percent_encoding::percent_decode(value).decode_utf8_lossy();
    Some((key.to_owned(), value.into_owned()))
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(header: &str, expected: &[(&str, &str)]) {
        let found = parse(header.as_bytes());
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected, "{header:?}");
    }

    #[test]
    fn members_have_a_key_and_a_value() {
        check("tenant=a", &[("tenant", "a")]);
        check(" tenant = a ;p=1;q , b=2", &[("tenant", "a"), ("b", "2")]);
        check("name=Zo%C3%AB%20%2C%3B", &[("name", "Zoë ,;")]);
        check("token=YWI==", &[("token", "YWI==")]);
        check("bad=%FF,half=%4", &[("bad", "\u{fffd}"), ("half", "%4")]);
        check("a=1,b=2,a=3", &[("a", "3"), ("b", "2")]);
        check("empty=", &[("empty", "")]);
    }

    #[test]
    fn what_is_no_member_is_left_out() {
        check("", &[]);
        check(",,;,=1, =2,no value,a b=3,\u{e9}=4,ok=5", &[("ok", "5")]);
    }

    #[test]
    fn no_more_is_taken_than_everyone_must_take() {
        let many: Vec<String> = (0..70).map(|n| format!("k{n}=v")).collect();
        assert_eq!(parse(many.join(",").as_bytes()).len(), MEMBERS_MAX);
        let long = format!("a={},b=2", "x".repeat(BYTES_MAX - 6));
        assert_eq!((long.len(), parse(long.as_bytes()).len()), (BYTES_MAX, 2));
        assert_eq!(parse(format!("{long}2").as_bytes()).len(), 1);
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        assert!(of(&headers).is_empty());
        headers.append(BAGGAGE, HeaderValue::from_static("a=1"));
        headers.append(BAGGAGE, HeaderValue::from_static("b=2"));
        assert_eq!(of(&headers), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }
}
