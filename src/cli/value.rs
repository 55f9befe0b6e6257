//! Values of flags that are more than text.

use std::net::SocketAddr;
use std::str::FromStr;

/// A whole number, 1 or more.
pub(super) fn positive<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    let number = text.parse::<T>().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| "must be a whole number, 1 or more".to_owned())
}

/// An address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_numbers_are_whole_and_at_least_one() {
        assert_eq!(positive::<u16>("7"), Ok(7));
        for text in ["0", "-1", "1.5", "x", "", "65536"] {
            assert!(positive::<u16>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("127.0.0.1:80").unwrap().port(), 80);
        assert!(address("nohost").unwrap_err().contains("such as 127.0.0.1:8080"));
    }
}
