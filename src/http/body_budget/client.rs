//! The client that sends a request: memory is shared out among clients.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use sha2::{Digest, Sha256};

use crate::http::Security;
use crate::http::secure::auth;

/// The other end of a request's connection, as far as it is known; an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Peer(pub(in crate::http) Option<SocketAddr>);

/// A client that gets a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Requests with this key, by its digest.
    Key([u8; 32]),
    /// Requests from this address; of IPv6, from this network of 64 bits.
    Address(IpAddr),
    /// Where no address is known.
    Unknown,
}

impl Client {
    /// The client that sends `request`. A key counts where keys are in use: without one of them a body is not read.
    pub(super) fn of(request: &Request, security: &Security) -> Self {
        if let Some(keys) = &security.keys
            && let Some(key) = auth::presented_key(request.headers()).filter(|key| keys.accept(key))
        {
            return Self::Key(Sha256::digest(key).into());
        }
        let peer = request.extensions().get().and_then(|Peer(address)| *address);
        peer.map_or(Self::Unknown, |address| Self::at(address.ip()))
    }

    /// The client at `ip`. A client that has one address of an IPv6 network of 64 bits has all of them.
    fn at(ip: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self::Address(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, same: bool) {
        let at = |ip: &str| Client::at(ip.parse().unwrap());
        assert_eq!(at(a) == at(b), same, "{a} {b}");
    }

    #[test]
    fn who_shares_an_address_is_one_client() {
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("2001:db8::1", "2001:db8::ffff:2", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
    }
}
