//! What a value of the right type must hold besides.

use super::Settings;
use super::layers::Layers;
use super::source::ConfigError;

/// The longest time that a key may set, in milliseconds: a day.
const MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Less does not decode an ordinary photograph.
const DECODE_BYTES_MIN: u64 = 16 << 20;

/// Checks every rule; the first that does not hold is the error.
pub(super) fn check(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    for (key, holds, reason) in rules(settings) {
        if !holds {
            return Err(ConfigError::Value {
                key: key.to_owned(),
                source_of: layers.source(key),
                reason: reason.to_owned(),
            });
        }
    }
    Ok(())
}

/// A key, whether its value holds, and what it must be.
type Rule = (&'static str, bool, &'static str);

const POSITIVE: &str = "must be at least 1";
const TIME: &str = "must be 1 to 86400000 (a day)";
const DRAIN: &str = "must be 0 to 86400000 (a day)";

fn time(ms: u64) -> bool {
    (1..=MS_MAX).contains(&ms)
}

fn rules(settings: &Settings) -> impl Iterator<Item = Rule> {
    let all = [server(settings), limits(settings), computing(settings)];
    all.into_iter().flatten()
}

fn server(s: &Settings) -> Vec<Rule> {
    vec![
        ("server.connections_max", s.server.connections_max > 0, POSITIVE),
        ("server.header_timeout_ms", time(s.server.header_timeout_ms), TIME),
        ("server.idle_timeout_ms", time(s.server.idle_timeout_ms), TIME),
        ("server.write_timeout_ms", time(s.server.write_timeout_ms), TIME),
        (
            "server.write_bytes_per_second_min",
            s.server.write_bytes_per_second_min > 0,
            POSITIVE,
        ),
        ("server.body_timeout_ms", time(s.server.body_timeout_ms), TIME),
        ("server.body_grace_ms", time(s.server.body_grace_ms), TIME),
        ("server.request_timeout_ms", time(s.server.request_timeout_ms), TIME),
        ("server.top_k", s.server.top_k > 0, POSITIVE),
        ("server.drain_delay_ms", s.server.drain_delay_ms <= MS_MAX, DRAIN),
        ("server.drain_limit_ms", s.server.drain_limit_ms <= MS_MAX, DRAIN),
        ("server.failure_linger_ms", s.server.failure_linger_ms <= MS_MAX, DRAIN),
    ]
}

fn limits(s: &Settings) -> Vec<Rule> {
    vec![
        ("limits.image_bytes_max", s.limits.image_bytes_max > 0, POSITIVE),
        ("limits.image_pixels_max", s.limits.image_pixels_max > 0, POSITIVE),
        ("limits.request_images_max", s.limits.request_images_max > 0, POSITIVE),
        (
            "limits.request_bytes_max",
            s.limits.request_bytes_max >= s.limits.image_bytes_max,
            "must not be less than limits.image_bytes_max",
        ),
        (
            "limits.bodies_bytes_max",
            s.limits.bodies_bytes_max == 0 || s.limits.bodies_bytes_max >= s.limits.request_bytes_max,
            "must be 0 (from the memory there is) or not less than limits.request_bytes_max",
        ),
        (
            "limits.request_pixels_max",
            s.limits.request_pixels_max >= s.limits.image_pixels_max,
            "must not be less than limits.image_pixels_max",
        ),
        (
            "limits.decode_bytes_max",
            s.limits.decode_bytes_max == 0 || s.limits.decode_bytes_max >= DECODE_BYTES_MIN,
            "must be 0 (from the memory there is) or at least 16777216 (16 MiB)",
        ),
        ("limits.answers_bytes_max", s.limits.answers_bytes_max > 0, POSITIVE),
    ]
}

fn computing(s: &Settings) -> Vec<Rule> {
    vec![
        (
            "security.tls_key_file",
            s.security.tls_is_whole(),
            "security.tls_certificate_file and security.tls_key_file are given together or not at all",
        ),
        (
            "trace.sample_ratio",
            (0.0..=1.0).contains(&s.trace.sample_ratio),
            "must be 0 to 1",
        ),
        ("security.reload_interval_ms", time(s.security.reload_interval_ms), TIME),
        ("batch.queue_capacity", s.batch.queue_capacity > 0, POSITIVE),
        ("verify.batches", s.verify.batches > 0, POSITIVE),
        ("verify.batch_size", s.verify.batch_size > 0, POSITIVE),
        (
            "verify.relative_error_max",
            s.verify.relative_error_max.is_finite() && s.verify.relative_error_max > 0.0,
            "must be a positive number",
        ),
        (
            "verify.top1_agreement_min",
            (0.0..=1.0).contains(&s.verify.top1_agreement_min),
            "must be 0 to 1",
        ),
        (
            "quantize.top1_agreement_min",
            (0.0..=1.0).contains(&s.quantize.top1_agreement_min),
            "must be 0 to 1",
        ),
        (
            "quantize.kl_divergence_max",
            s.quantize.kl_divergence_max >= 0.0,
            "must not be negative",
        ),
        ("runtime.cores", s.runtime.cores <= 1024, "must be 0 (all) to 1024"),
        (
            "runtime.measure_batch_max",
            (1..=1024).contains(&s.runtime.measure_batch_max),
            "must be 1 to 1024",
        ),
        ("runtime.measure_ms_max", s.runtime.measure_ms_max <= MS_MAX, DRAIN),
        (
            "log.level",
            s.log.filter().is_ok(),
            "must be error, warn, info, debug, trace or off, or a list such as \"info,repserve::http=debug\"",
        ),
    ]
}
