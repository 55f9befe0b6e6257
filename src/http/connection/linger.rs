//! The end of a connection after its last answer (RFC 9112, section 9.6).

use std::io::ErrorKind;

use tokio::net::TcpStream;

use super::link::Link;

/// What is read at once of what nobody wants.
const DROPPED_BYTES: usize = 16 << 10;
/// How often, before other connections have their turn.
const DROPPED_TIMES: usize = 16;

/// What reading found.
enum Found {
    /// Nothing more now.
    Nothing,
    /// More than is read in one turn.
    More,
    /// The peer has closed, or it has sent enough.
    End,
}

/// Reads and drops what comes until the peer closes, or it has been enough. How long that may take is the link's to say.
pub(super) async fn linger(tcp: &TcpStream, link: &Link) {
    while tcp.readable().await.is_ok() {
        match read(tcp, link) {
            Found::Nothing => {}
            Found::More => tokio::task::yield_now().await,
            Found::End => return,
        }
    }
}

fn read(tcp: &TcpStream, link: &Link) -> Found {
    let mut dropped = [0; DROPPED_BYTES];
    for _ in 0..DROPPED_TIMES {
        match tcp.try_read(&mut dropped) {
            Ok(bytes @ 1..) if link.dropped(bytes) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Found::Nothing,
            _ => return Found::End,
        }
    }
    Found::More
}
