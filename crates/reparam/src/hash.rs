//! SHA-256 of what is read and written, computed beside the work on the same bytes.

use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Pieces that may wait for the hash: more would hold memory that is written already.
const PIECES_MAX: usize = 2;

/// The digest of `bytes`, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Writes `pieces` to `sink`, each freed once it is written and hashed; the digest of all, in hexadecimal.
///
/// # Errors
/// What `sink` reports.
pub(super) fn write(pieces: impl Iterator<Item = Bytes>, mut sink: impl Write) -> io::Result<String> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<Bytes>(PIECES_MAX);
        let hash = scope.spawn(move || {
            let mut hash = Sha256::new();
            receive.iter().for_each(|piece| hash.update(&piece));
            hex(&hash.finalize())
        });
        for piece in pieces {
            let _ = send.send(piece.clone());
            sink.write_all(&piece)?;
        }
        sink.flush()?;
        drop(send);
        Ok(hash.join().unwrap_or_default())
    })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
