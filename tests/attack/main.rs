//! Attacks on a server of one's own: raw sockets over loopback, bounded in count and time. Each file is one kind of attack.
//!
//! What a process may take in memory is tested with the real binary, in a memory cgroup where one can be made.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod bodies;
mod connections;
mod decoding;
mod files;
mod http2;
mod logging;
mod raw;
mod streams;
mod tensors;

#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod support;
