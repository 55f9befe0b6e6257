//! Sections `[server]` and `[limits]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::header::FORWARDED;
use axum::http::{HeaderName, Uri};

use super::client::TrustedNetwork;
use super::listen;
use super::pace::MinimumRate;
use super::timeouts::Timeouts;
use repserve_preprocess::Limits;
use repserve_settings::{TextForm, rule, settings, text_form, time_ms, zero_or};

const ADDRESS: TextForm =
    text_form("an address, or a name that can be resolved, and a port, such as 127.0.0.1:8080 or localhost:8080");
const ADDRESS_OR_NONE: TextForm =
    text_form("an address, or a name that can be resolved, and a port, such as 127.0.0.1:9090; or empty");

/// What 0 stands for in limits on memory.
const FROM_MEMORY: &str = "from the memory there is";

/// Less does not decode an ordinary photograph.
const DECODE_BYTES_MIN: u64 = 16 << 20;

settings! {
    /// Where the server listens, how long a client may take, and how the server ends.
    pub struct ServerSettings {
        /// Address and port, or a name such as localhost and a port. Only this machine can connect by default; use 0.0.0.0:8080 for
        /// all. Port 0 takes a free one.
        #[serde(with = "listen")]
        #[allowed(ADDRESS)]
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        /// A second address for /metrics and the probes (/livez, /readyz, /healthz), such as "127.0.0.1:9090". /metrics is then
        /// there alone, and needs no API key. Empty: all are at the first address.
        #[serde(with = "address_or_none")]
        #[allowed(ADDRESS_OR_NONE)]
        admin_listen: Option<SocketAddr> = None,
        /// An address for gRPC (the Open Inference Protocol, health and reflection), such as "127.0.0.1:8081". Limits, API keys and the
        /// certificate are the same as for HTTP. Empty: none.
        #[serde(with = "address_or_none")]
        #[allowed(ADDRESS_OR_NONE)]
        grpc_listen: Option<SocketAddr> = None,
        /// Where the model cannot be served, the process ends. How long before that metrics and probes are still served, so that what
        /// monitors the server sees why; 0: not at all.
        #[allowed(time_ms(0))]
        failure_linger_ms: u64 = 0,
        /// Web pages of other origins whose scripts may use this server over HTTP (CORS), such as ["https://app.example"]; ["*"]: all. A browser
        /// asks; without one, this keeps nobody out.
        #[allowed(rule("origins, such as [\"https://app.example\"], or [\"*\"]", ServerSettings::has_origins))]
        cors_origins: Vec<String> = Vec::new(),
        /// Connections at one time. A further one takes the place of the one that has had no request for the longest; where all have
        /// one, probes are still served and everything else gets 503.
        #[allowed(1..)]
        connections_max: usize = 1024,
        /// Proxies that may say for which client they speak: addresses and networks, such as ["10.0.0.0/8", "::1"]. Clients share memory and
        /// workers fairly; without an API key a client is the address of its connection.
        #[allowed(text_form("addresses and networks, such as [\"10.0.0.0/8\", \"::1\"]"))]
        trusted_proxies: Vec<TrustedNetwork> = Vec::new(),
        /// The header in which they say so, such as "x-forwarded-for": the last address in it that is none of theirs, or a name. It counts
        /// from those proxies only; let them set it, not only pass it on.
        #[allowed(rule("a header's name other than \"forwarded\", given where server.trusted_proxies is, and only there", ServerSettings::names_clients))]
        client_header: String = String::new(),
        /// A connection that has begun a request head and does not complete it within this time is closed.
        #[allowed(time_ms(1))]
        header_timeout_ms: u64 = 30_000,
        /// A connection on which no request begins within this time is closed. What keeps connections to the server (a load balancer)
        /// should give them up earlier.
        #[allowed(time_ms(1))]
        idle_timeout_ms: u64 = 15_000,
        /// A connection whose client takes no byte of its response within this time is closed.
        #[allowed(time_ms(1))]
        write_timeout_ms: u64 = 10_000,
        /// So is one whose client, having used up that time, takes its responses at fewer bytes a second.
        #[allowed(1..)]
        write_bytes_per_second_min: u64 = 1024,
        /// A request whose body has not arrived within this time gets 408.
        #[allowed(time_ms(1))]
        body_timeout_ms: u64 = 30_000,
        /// The least rate at which a body must arrive, in bytes a second over each span of body_grace_ms; one that falls behind
        /// gets 408. 0: any rate will do.
        body_rate_bytes_min: usize = 4096,
        /// How long a body may fall behind that rate.
        #[allowed(time_ms(1))]
        body_grace_ms: u64 = 5_000,
        /// A request without a response within this time gets 504. `?timeout_ms=` may only shorten it.
        #[allowed(time_ms(1))]
        request_timeout_ms: u64 = 30_000,
        /// Classes of each image unless `?top_k=` sets another number.
        #[allowed(1..)]
        top_k: usize = 5,
        /// After SIGTERM: how long new requests are still taken while `/readyz` says 503, so that load balancers notice.
        #[allowed(time_ms(0))]
        drain_delay_ms: u64 = 2_000,
        /// After that: how long admitted requests may take to finish before they get 503.
        #[allowed(time_ms(0))]
        drain_limit_ms: u64 = 30_000,
    }
}

impl ServerSettings {
    /// Whether the header that names clients is given where proxies are, and is one whose value is read here.
    fn names_clients(&self) -> bool {
        let known = self
            .client_header
            .parse::<HeaderName>()
            .is_ok_and(|name| name != FORWARDED);
        if self.trusted_proxies.is_empty() {
            return self.client_header.is_empty();
        }
        known
    }

    fn has_origins(&self) -> bool {
        self.cors_origins == ["*"] || self.cors_origins.iter().all(|origin| is_origin(origin))
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(super) fn connection_timeouts(&self) -> Timeouts {
        Timeouts {
            idle: Duration::from_millis(self.idle_timeout_ms),
            head: Duration::from_millis(self.header_timeout_ms),
            write: Duration::from_millis(self.write_timeout_ms),
            write_bytes_per_second_min: self.write_bytes_per_second_min,
        }
    }

    pub(super) fn body_rate(&self) -> MinimumRate {
        MinimumRate {
            bytes_per_second: self.body_rate_bytes_min,
            window: Duration::from_millis(self.body_grace_ms),
        }
    }

    /// How long a request may take that asks for `timeout_ms`.
    pub(super) fn request_timeout(&self, timeout_ms: Option<u64>) -> Duration {
        Duration::from_millis(timeout_ms.map_or(self.request_timeout_ms, |ms| ms.min(self.request_timeout_ms)))
    }

    /// How long metrics and probes are still served after a model could not be served.
    pub fn failure_linger(&self) -> Duration {
        Duration::from_millis(self.failure_linger_ms)
    }

    /// How long requests are still taken after a signal.
    pub fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }

    /// How long what was admitted may take after that.
    pub fn drain_limit(&self) -> Duration {
        Duration::from_millis(self.drain_limit_ms)
    }
}

/// Whether a text is a scheme and an authority and nothing more (RFC 6454, section 6.1).
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => text == format!("{scheme}://{authority}"),
        _ => false,
    }
}

/// An address as text; none is the empty text.
mod address_or_none {
    use std::net::SocketAddr;

    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::Serializer;

    use crate::http::listen::resolve;

    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        resolve(&text).map(Some).map_err(D::Error::custom)
    }
}

settings! {
    /// What an image, a request and all requests together may cost.
    #[derive(Eq)]
    pub struct LimitSettings {
        /// Bytes of one encoded image.
        #[allowed(1..)]
        image_bytes_max: usize = Limits::default().bytes_max,
        /// Pixels (width times height) of one image, checked from its header.
        #[allowed(1..)]
        image_pixels_max: u64 = Limits::default().pixels_max,
        /// Images in one request.
        #[allowed(1..)]
        request_images_max: usize = 64,
        /// Bytes of one request's body.
        #[allowed(rule("at least limits.image_bytes_max", |limits: &LimitSettings| {
            limits.request_bytes_max >= limits.image_bytes_max
        }))]
        request_bytes_max: usize = 64 << 20,
        /// What the images of one request may take to decode, known from their headers; more gets 413. Counted in pixels of an ordinary
        /// JPEG: one of any other format counts 4, one of a JPEG of several scans (progressive) 1 for every two scans.
        #[allowed(rule("at least limits.image_pixels_max", |limits: &LimitSettings| {
            limits.request_pixels_max >= limits.image_pixels_max
        }))]
        request_pixels_max: u64 = 800_000_000,
        /// Memory for the bodies of all requests, and for what is made of them while they are read, in bytes; a request that goes
        /// beyond gets 429. A quarter of it (less where request_bytes_max leaves less) is kept for requests up to a
        /// sixteenth of it (at most image_bytes_max). A client (by its API key where keys are in use, else by its address) holds at
        /// most two thirds of what others leave. 0: a sixth of the memory there is (the cgroup's limit or the machine's), from 16 MiB to 256 MiB.
        #[allowed(zero_or(FROM_MEMORY, rule("at least limits.request_bytes_max", |limits: &LimitSettings| {
            limits.bodies_bytes_max >= limits.request_bytes_max
        })))]
        bodies_bytes_max: usize = 0,
        /// Bytes that all decoding together may hold, known from the images' headers; an image that finds too little left waits in the queue, and one
        /// that takes more alone gets 413. 0: three eighths of the memory there is, at least 32 MiB.
        #[allowed(zero_or(FROM_MEMORY, DECODE_BYTES_MIN..))]
        decode_bytes_max: u64 = 0,
        /// Bytes of all responses (those up to 4 KiB are not counted) that their clients have not read; one that goes beyond is replaced by 429.
        #[allowed(1..)]
        answers_bytes_max: usize = 64 << 20,
    }
}

impl LimitSettings {
    /// The same with these numbers in place of what is 0. One request may then bring no more than three quarters of all bodies
    /// together, so that beside it there is room for others.
    #[must_use]
    pub fn settled(mut self, decode_bytes: u64, bodies_bytes: usize) -> Self {
        if self.decode_bytes_max == 0 {
            self.decode_bytes_max = decode_bytes;
        }
        if self.bodies_bytes_max == 0 {
            self.bodies_bytes_max = bodies_bytes;
            let request_bytes = bodies_bytes / 4 * 3;
            self.request_bytes_max = self.request_bytes_max.min(request_bytes);
            self.image_bytes_max = self.image_bytes_max.min(request_bytes);
        }
        self
    }

    /// What one image may cost.
    pub fn image(&self) -> Limits {
        Limits {
            bytes_max: self.image_bytes_max,
            pixels_max: self.image_pixels_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bodies_bytes: usize, request_bytes_max: usize, image_bytes_max: usize) {
        let settled = LimitSettings::default().settled(1 << 30, bodies_bytes);
        let got = (settled.request_bytes_max, settled.image_bytes_max);
        assert_eq!(got, (request_bytes_max, image_bytes_max));
    }

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        for good in ["https://app.example", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "app.example",
            "https://app.example/",
            "https://a/b",
            "https://",
            "a b",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_request_leaves_room_beside_it() {
        check(256 << 20, 64 << 20, 10 << 20);
        check(48 << 20, 36 << 20, 10 << 20);
        check(8 << 20, 6 << 20, 6 << 20);
    }
}
