//! Proxies that may name the client for which they speak.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::http::settings::ServerSettings;

/// An address, or a network of them such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedNetwork(IpNet);

impl FromStr for TrustedNetwork {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
        address.or_else(|_| text.parse()).map(Self)
    }
}

impl fmt::Display for TrustedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for TrustedNetwork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrustedNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a request's client is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Address(IpAddr),
    Name(&'a [u8]),
}

/// Which proxies are trusted, and the header in which they name a client.
#[derive(Debug)]
pub(super) struct Proxies {
    header: Option<HeaderName>,
    trusted: Vec<TrustedNetwork>,
}

impl Proxies {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            header: settings.client_header.parse().ok(),
            trusted: settings.trusted_proxies.clone(),
        }
    }

    /// The client of a request that came from `peer`. The header counts where a trusted proxy sent it. It is read from its end, as each proxy
    /// appends the address from which it got the request: the last that is not a trusted proxy's is the client. What stands before it
    /// may be anybody's invention.
    pub(super) fn client<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Named<'a> {
        let mut client = Named::Address(peer);
        let Some(header) = &self.header else {
            return client;
        };
        let values = headers.get_all(header).iter().rev();
        let mut elements = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        while let Named::Address(ip) = client
            && self.trusts(ip)
            && let Some(element) = elements.next().map(<[u8]>::trim_ascii).filter(|text| !text.is_empty())
        {
            client = address(element).map_or(Named::Name(element), Named::Address);
        }
        client
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|TrustedNetwork(network)| network.contains(&ip))
    }
}

/// An address, with a port or without.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok();
    ip.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// The client of a request from `peer` with these lines of the header, where 10.0.0.0/8 and ::1 are trusted.
    #[track_caller]
    fn check(peer: &str, lines: &[&'static str], expected: &str) {
        let proxies = Proxies {
            header: Some(HeaderName::from_static("x-forwarded-for")),
            trusted: ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).to_vec(),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let named = match proxies.client(peer.parse().unwrap(), &headers) {
            Named::Address(ip) => ip.to_string(),
            Named::Name(name) => format!("{:?}", std::str::from_utf8(name).unwrap()),
        };
        assert_eq!(named, expected);
    }

    #[test]
    fn the_header_counts_only_from_a_trusted_proxy() {
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.1.2.3", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9");
        check("::1", &["2001:db8::1"], "2001:db8::1");
        check("::2", &["2001:db8::1"], "::2");
        check("10.1.2.3", &[], "10.1.2.3");
    }

    #[test]
    fn what_a_client_wrote_itself_does_not_count() {
        check("10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("10.1.2.3", &["1.1.1.1", "203.0.113.9"], "203.0.113.9");
        check("10.1.2.3", &["1.1.1.1, 203.0.113.9, 10.9.9.9"], "203.0.113.9");
        check("10.1.2.3", &["1.1.1.1,"], "10.1.2.3");
    }

    #[test]
    fn a_name_and_an_address_with_a_port_are_read() {
        check("10.1.2.3", &["tenant 7"], "\"tenant 7\"");
        check("10.1.2.3", &["203.0.113.9:4711"], "203.0.113.9");
        check("10.1.2.3", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("10.1.2.3", &["[2001:db8::1]"], "2001:db8::1");
        check("10.1.2.3", &["10.1.1.1"], "10.1.1.1");
    }

    #[test]
    fn networks_are_read_and_written() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("127.0.0.1", "127.0.0.1/32"),
        ] {
            assert_eq!(text.parse::<TrustedNetwork>().unwrap().to_string(), written);
        }
        assert!("10.0.0.0/33".parse::<TrustedNetwork>().is_err());
        assert!("proxy.example".parse::<TrustedNetwork>().is_err());
    }

    proptest! {
        /// Whatever a client writes, it cannot choose who it is.
        #[test]
        fn what_stands_before_the_proxys_own_word_changes_nothing(written in proptest::collection::vec(32..=255_u8, 0..64)) {
            let proxies = Proxies {
                header: Some(HeaderName::from_static("x-forwarded-for")),
                trusted: vec!["10.0.0.0/8".parse().unwrap()],
            };
            let peer: IpAddr = "10.1.2.3".parse().unwrap();
            for line in [[&written[..], b", 203.0.113.9"].concat(), written] {
                let mut headers = HeaderMap::new();
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.insert("x-forwarded-for", value);
                }
                let client = proxies.client(peer, &headers);
                if line.ends_with(b", 203.0.113.9") && !headers.is_empty() {
                    prop_assert_eq!(client, Named::Address("203.0.113.9".parse().unwrap()));
                }
            }
        }
    }
}
