//! Who sends a request: memory and workers are shared out among clients.

mod proxies;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::Request;
use sha2::{Digest, Sha256};

use self::proxies::Proxies;
use super::Shared;
use super::secure::auth::presented_key;
use super::secure::{Keys, Known};
use crate::classify::Sender;
use repserve_scheduler::ClientId;

pub use self::proxies::TrustedNetwork;

/// The other end of a request's connection; an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Peer {
    /// Its address, as far as it is known.
    pub(in crate::http) address: Option<SocketAddr>,
    /// The connection, by a number that no other has.
    pub(in crate::http) connection: u64,
}

/// A client that gets a share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Requests with this key, by its digest.
    Key([u8; 32]),
    /// Requests from this address; of IPv6, from this network of 64 bits.
    Address(IpAddr),
    /// Requests for which a trusted proxy gives this name, by its digest.
    Name([u8; 32]),
    /// Where no address is known.
    #[default]
    Unknown,
}

impl Client {
    /// The client at `ip`. A client that has one address of an IPv6 network of 64 bits has all of them.
    fn at(ip: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self::Address(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

/// Who sent a request; an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// The client.
    pub(super) client: Client,
    /// The client and its connection, as the scheduler knows them.
    pub(super) sender: Sender,
    /// The client's share relative to others'.
    pub(super) weight: u32,
}

/// How clients are told from each other.
#[derive(Debug)]
pub(super) struct Clients {
    keys: Option<Arc<Keys>>,
    proxies: Proxies,
    /// With a secret of its own: nobody can choose an address that counts as another's.
    hasher: RandomState,
}

impl Clients {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            keys: shared.security.keys.clone(),
            proxies: Proxies::new(&shared.server),
            hasher: RandomState::new(),
        }
    }

    /// Who sends `request`: by its API key, else by what a trusted proxy says, else by its address. A key counts where keys are in use: without
    /// one of them a body is not read.
    pub(super) fn identify(&self, request: &Request) -> Identity {
        let peer = request.extensions().get::<Peer>().copied();
        let known = self
            .keys
            .as_ref()
            .zip(presented_key(request.headers()))
            .and_then(|(keys, key)| keys.find(key));
        let (client, weight) = match known {
            Some(Known { digest, weight }) => (Client::Key(digest), weight),
            None => (self.unkeyed(request, peer), 1),
        };
        let sender = Sender {
            client: ClientId(self.hasher.hash_one(client)),
            connection: peer.map_or(0, |peer| peer.connection),
        };
        Identity { client, sender, weight }
    }

    fn unkeyed(&self, request: &Request, peer: Option<Peer>) -> Client {
        let Some(ip) = peer.and_then(|peer| peer.address).map(|address| address.ip()) else {
            return Client::Unknown;
        };
        match self.proxies.client(ip, request.headers()) {
            proxies::Named::Address(ip) => Client::at(ip),
            proxies::Named::Name(name) => Client::Name(Sha256::digest(name).into()),
        }
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
