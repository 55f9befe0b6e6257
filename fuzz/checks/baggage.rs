//! What holds of any bytes that are read as the header `baggage`.

use std::collections::BTreeSet;

use repserve::http::parsers;

pub fn check(data: &[u8]) {
    let entries = parsers::baggage(data);
    assert!(entries.len() <= 64);
    let keys: BTreeSet<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys.len(), entries.len(), "a key came twice");
    for (key, value) in &entries {
        assert!(
            !key.is_empty()
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b",;=\"".contains(&byte))
        );
        // A byte that is no UTF-8 becomes a character of three.
        assert!(value.len() <= 3 * data.len());
    }
}
