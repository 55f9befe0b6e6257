//! The end of a connection after its last response (RFC 9112, section 9.6).

use std::io::ErrorKind;

use tokio::net::TcpStream;

use super::handle::ConnectionHandle;

/// How much is read at once to be discarded.
const DISCARD_BYTES: usize = 16 << 10;
/// How often, before other connections have their turn.
const DISCARD_READS_MAX: usize = 16;

/// What reading found.
enum ReadOutcome {
    /// Nothing more now.
    Nothing,
    /// More than is read in one turn.
    More,
    /// The peer has closed, or it has sent enough.
    End,
}

/// Reads and discards what comes until the peer closes, or it has been enough. How long that may take: see
/// [`ConnectionHandle::expired`].
pub(super) async fn linger(tcp: &TcpStream, handle: &ConnectionHandle) {
    while tcp.readable().await.is_ok() {
        match read(tcp, handle) {
            ReadOutcome::Nothing => {}
            ReadOutcome::More => tokio::task::yield_now().await,
            ReadOutcome::End => return,
        }
    }
}

fn read(tcp: &TcpStream, handle: &ConnectionHandle) -> ReadOutcome {
    let mut discarded = [0; DISCARD_BYTES];
    for _ in 0..DISCARD_READS_MAX {
        match tcp.try_read(&mut discarded) {
            Ok(bytes @ 1..) if handle.discarded(bytes) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadOutcome::Nothing,
            _ => return ReadOutcome::End,
        }
    }
    ReadOutcome::More
}
