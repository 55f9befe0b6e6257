//! Sections `[server]` and `[limits]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::pace::MinimumRate;
use super::timeouts::Timeouts;
use repserve_preprocess::Limits;

/// Section `[server]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Second address, for `/metrics` and the probes alone; empty: they are at the first.
    #[serde(deserialize_with = "address_or_none")]
    pub admin_listen: Option<SocketAddr>,
    /// How long metrics and probes are still answered after a model could not be served.
    pub failure_linger_ms: u64,
    /// Connections at one time.
    pub connections_max: usize,
    /// Time for a request head.
    pub header_timeout_ms: u64,
    /// Time that a connection without a request is kept.
    pub idle_timeout_ms: u64,
    /// Time without a byte of an answer that the client takes.
    pub write_timeout_ms: u64,
    /// Rate at which a client must take an answer after that time, bytes a second.
    pub write_bytes_per_second_min: u64,
    /// Time for a request body.
    pub body_timeout_ms: u64,
    /// Bytes a second at which a body must arrive, over each span of [`Self::body_grace_ms`]; 0: any.
    pub body_rate_bytes_min: usize,
    /// How long a body may fall behind that.
    pub body_grace_ms: u64,
    /// Time for an answer, from the request head.
    pub request_timeout_ms: u64,
    /// Classes in an answer, unless the request says otherwise.
    pub top_k: usize,
    /// How long requests are still taken after a signal.
    pub drain_delay_ms: u64,
    /// How long what was admitted may take after that.
    pub drain_limit_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: None,
            failure_linger_ms: 0,
            connections_max: 1024,
            header_timeout_ms: 30_000,
            idle_timeout_ms: 15_000,
            write_timeout_ms: 10_000,
            write_bytes_per_second_min: 1024,
            body_timeout_ms: 30_000,
            body_rate_bytes_min: 4096,
            body_grace_ms: 5_000,
            request_timeout_ms: 30_000,
            top_k: 5,
            drain_delay_ms: 2_000,
            drain_limit_ms: 30_000,
        }
    }
}

impl ServerSettings {
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

    /// How long metrics and probes are still answered after a model could not be served.
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

fn address_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| D::Error::custom("invalid socket address syntax"))
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Bytes of one encoded image.
    pub image_bytes_max: usize,
    /// Pixels of one image.
    pub image_pixels_max: u64,
    /// Images in one request.
    pub request_images_max: usize,
    /// Bytes of one request's body.
    pub request_bytes_max: usize,
    /// What the images of one request may take to decode, in pixels of an ordinary JPEG.
    pub request_pixels_max: u64,
    /// Bytes of all requests' bodies in memory at one time; 0: as much as the process's memory allows.
    pub bodies_bytes_max: usize,
    /// Bytes that all decoding together may hold; 0: as much as the process's memory allows.
    pub decode_bytes_max: u64,
    /// Bytes of all answers that wait for their clients to read them.
    pub answers_bytes_max: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let image = Limits::default();
        Self {
            image_bytes_max: image.bytes_max,
            image_pixels_max: image.pixels_max,
            request_images_max: 64,
            request_bytes_max: 64 << 20,
            request_pixels_max: 800_000_000,
            bodies_bytes_max: 0,
            decode_bytes_max: 0,
            answers_bytes_max: 64 << 20,
        }
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
    fn a_request_leaves_room_beside_it() {
        check(256 << 20, 64 << 20, 10 << 20);
        check(48 << 20, 36 << 20, 10 << 20);
        check(8 << 20, 6 << 20, 6 << 20);
    }
}
