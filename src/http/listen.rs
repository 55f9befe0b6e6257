//! Addresses to listen on: of numbers, or with a name that is resolved when the settings are read.

use std::net::{SocketAddr, ToSocketAddrs};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::Serializer;

/// The address that `text` (host and port) stands for. Of a name's addresses it is the first of IPv4, so that `localhost` is the
/// 127.0.0.1 that most clients try; without one, the first.
///
/// # Errors
/// Where it is no host and port, or the name is not known.
pub(super) fn resolve(text: &str) -> std::io::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = text.to_socket_addrs()?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred
        .copied()
        .ok_or_else(|| std::io::Error::other("the name has no address"))
}

pub(super) fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    resolve(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_addresses() {
        let check = |text: &str, expected: &str| assert_eq!(resolve(text).unwrap().to_string(), expected);
        check("127.0.0.1:8080", "127.0.0.1:8080");
        check("[::1]:80", "[::1]:80");
        check("localhost:8080", "127.0.0.1:8080");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "8080", "localhost", "127.0.0.1:99999", "localhost:http", "::1:80:x"] {
            assert!(resolve(text).is_err(), "{text:?}");
        }
    }
}
