//! Asks a running server over HTTP or HTTPS: `repserve health`, and the watchdog of [`super::service_manager`].
//!
//! [`client`] sends the request, [`trust`] is which certificates a server over HTTPS may show.

mod client;
mod trust;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::http::SecuritySettings;

pub(crate) use client::{Returned, get};
pub(crate) use trust::Trust;

/// Where a server is asked that listens on these addresses: on the second one where it has one, which has no TLS. The URL of `path`,
/// and which certificate it must show.
pub(crate) fn of_server(
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    security: &SecuritySettings,
    path: &str,
) -> (String, Trust) {
    let (address, scheme, trust) = match admin {
        Some(admin) => (admin, "http", Trust::System),
        None if security.has_tls() => {
            let certificate = security.tls_certificate_file.clone();
            (listen, "https", Trust::Exactly(certificate))
        }
        None => (listen, "http", Trust::System),
    };
    (format!("{scheme}://{}{path}", reachable(address)), trust)
}

/// An address that listens on every interface is reached on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_on_loopback() {
        let check = |listen: &str, expected: &str| {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        };
        check("0.0.0.0:8080", "127.0.0.1:8080");
        check("[::]:8080", "[::1]:8080");
        check("10.0.0.1:80", "10.0.0.1:80");
    }

    #[test]
    fn the_second_listener_is_asked_where_there_is_one() {
        let check = |admin: Option<&str>, tls: &str, expected: &str| {
            let security = SecuritySettings {
                tls_certificate_file: tls.into(),
                tls_key_file: tls.into(),
                ..SecuritySettings::default()
            };
            let listen = "0.0.0.0:80".parse().unwrap();
            let admin = admin.map(|admin| admin.parse().unwrap());
            assert_eq!(of_server(listen, admin, &security, "/livez").0, expected);
        };
        check(None, "", "http://127.0.0.1:80/livez");
        check(None, "server.pem", "https://127.0.0.1:80/livez");
        check(Some("[::]:90"), "server.pem", "http://[::1]:90/livez");
    }
}
