//! Reads plain tar files: enough for the archives of test images.

use std::path::Path;

/// The regular files of an archive: (path, content).
pub fn files(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(archive).unwrap();
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_matches(['\0', ' ']).to_owned();
    let mut at = 0;
    let mut found = Vec::new();
    while at + 512 <= bytes.len() && bytes[at] != 0 {
        let head = &bytes[at..at + 512];
        let size = usize::from_str_radix(&text(&head[124..136]), 8).unwrap();
        if matches!(head[156], b'0' | 0) {
            found.push((text(&head[..100]), bytes[at + 512..at + 512 + size].to_vec()));
        }
        at += 512 + size.next_multiple_of(512);
    }
    found
}
