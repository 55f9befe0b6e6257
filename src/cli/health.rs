//! `repserve health`: asks a running server whether it is ready. The container's health check.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::settings::{SettingsArgs, Used};
use super::{Outcome, output};

/// More than any answer of a probe has.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Ask a running server whether it is ready; exit code 0 when it is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask; default: /readyz at the configured address
    #[arg(long, conflicts_with = "set")]
    url: Option<String>,
    /// Give up after this time
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    #[command(flatten)]
    settings: SettingsArgs,
}

const USED: Used = &["security", "server"];

pub(super) fn run(args: &Args) -> Outcome {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => {
            let settings = args.settings.load(USED, &[])?.settings;
            let asked = match settings.server.admin_listen {
                Some(admin) => admin,
                None if settings.security.has_tls() => bail!(
                    "this asks over plain HTTP, and server.listen speaks HTTPS; set server.admin_listen for the probes"
                ),
                None => settings.server.listen,
            };
            format!("http://{}/readyz", reachable(asked))
        }
    };
    let (status, body) =
        get(&url, Duration::from_millis(args.timeout_ms)).with_context(|| format!("cannot ask {url}"))?;
    if status == 200 {
        output::print(&format!("{url}: ready\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let detail = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|v| Some(v.get("detail")?.as_str()?.to_owned()));
    bail!(
        "{url} answers {status}: {}",
        detail.as_deref().unwrap_or("no reason given")
    );
}

/// An address that listens on every interface is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn get(url: &str, timeout: Duration) -> anyhow::Result<(u16, String)> {
    let rest = url.strip_prefix("http://").context("only http:// can be asked")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/readyz"),
    };
    let host = if authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let address = host.to_socket_addrs()?.next().context("the host has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("not an answer of HTTP")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("not an answer of HTTP")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let check = |listen: &str, asked: &str| {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        };
        check("0.0.0.0:8080", "127.0.0.1:8080");
        check("[::]:8080", "[::1]:8080");
        check("10.0.0.1:80", "10.0.0.1:80");
    }
}
