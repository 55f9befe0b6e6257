//! Odd and broken images against Pillow; `tests/vectors/corpora.py` wrote what Pillow makes of them. The images themselves are not
//! in the repository: the test checks what lies in the folder that the variable `REPSERVE_CORPORA` names, or in
//! `../shared/hostile/corpora.tar`, and nothing where both are absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use repserve_preprocess::{ImageError, Limits, Rgb8, decode_rgb, decoder};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Corpora {
    files: BTreeMap<String, Pillow>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Pillow {
    Read {
        size: [u32; 2],
        sha256: String,
        grid: Option<Vec<[f64; 3]>>,
    },
    Refused {},
}

/// Where this server differs from Pillow on purpose or by its decoders, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("bmp/images/lenient/badplanes.bmp", "refused: its planes are not 1"),
    (
        "bmp/images/lenient/badrle.bmp",
        "refused: its run lengths leave the picture",
    ),
    (
        "bmp/images/lenient/rletopdown.bmp",
        "refused: run lengths from the top are not allowed",
    ),
    ("bmp/images/V3_A4_R4_G4_B4", "read: Pillow knows fewer bit fields"),
    ("bmp/images/V3_X4_R4_G4_B4", "read: Pillow knows fewer bit fields"),
    ("bmp/images/rgb16-231.bmp", "read: Pillow knows fewer bit fields"),
    ("bmp/images/rgb32-111110.bmp", "read: Pillow knows fewer bit fields"),
    ("bmp/images/rgb32bf.bmp", "read: Pillow knows fewer bit fields"),
    ("bmp/images/rgba16-1924.bmp", "read: Pillow knows fewer bit fields"),
    ("bmp/images/rgba32-61754.bmp", "read: Pillow knows fewer bit fields"),
    ("bmp/images/pal2", "read: Pillow knows no palettes of two bits"),
    ("bmp/images/pal4rlecut.bmp", "read: run lengths may end early"),
    (
        "bmp/images/pal4rletrns.bmp",
        "skipped pixels are black, in Pillow colour 0",
    ),
    (
        "bmp/images/V4_R5_G6_B5.bmp",
        "five and six bits are widened by another rounding, 1 of 255 at most",
    ),
    (
        "bmp/images/V5_A1_R5_G5_B5.bmp",
        "five and six bits are widened by another rounding, 1 of 255 at most",
    ),
    (
        "bmp/images/rgb16.bmp",
        "five and six bits are widened by another rounding, 1 of 255 at most",
    ),
    (
        "bmp/images/rgb16-565.bmp",
        "five and six bits are widened by another rounding, 1 of 255 at most",
    ),
    (
        "webp/extended_images/anim.webp",
        "half transparent pixels of a first frame are laid on black",
    ),
    (
        "tiff/clusterfuzz-testcase-minimized",
        "refused: the JPEG in it is larger than its strip",
    ),
];

/// Of the files that Pillow reads, so many in a hundred may be refused.
const REFUSED_PERCENT_MAX: usize = 1;

/// Files of a format that is not read at all.
fn other_format(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::Empty | ImageError::UnknownFormat { .. } | ImageError::OtherFormat { .. }
    )
}

fn sha256(image: &Rgb8) -> String {
    Sha256::digest(&image.data)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The largest distance of the means of a 4 by 4 grid from Pillow's.
fn distance(image: &Rgb8, grid: &[[f64; 3]]) -> f64 {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut sums = BTreeMap::<(usize, usize), ([f64; 3], f64)>::new();
    for (index, pixel) in image.data.chunks_exact(3).enumerate() {
        let cell = (index / width * 4 / height, index % width * 4 / width);
        let (sum, count) = sums.entry(cell).or_default();
        *count += 1.0;
        (0..3).for_each(|channel| sum[channel] += f64::from(pixel[channel]));
    }
    assert_eq!(sums.len(), grid.len());
    let cells = sums.values().zip(grid);
    cells
        .flat_map(|((sum, count), mean)| [0, 1, 2].map(|c| (sum[c] / count - mean[c]).abs()))
        .fold(0.0, f64::max)
}

/// `None` if all is as in Pillow.
fn difference(bytes: &[u8], pillow: &Pillow) -> Option<String> {
    let limits = Limits {
        bytes_max: 100 << 20,
        ..Limits::default()
    };
    match (decode_rgb(bytes, &limits), pillow) {
        (
            Ok(image),
            Pillow::Read {
                size,
                sha256: expected,
                grid,
            },
        ) => {
            if [image.width, image.height] != *size {
                return Some(format!("{}x{} instead of {size:?}", image.width, image.height));
            }
            let equal = sha256(&image) == *expected;
            let far = grid.as_deref().map_or(f64::INFINITY, |grid| distance(&image, grid));
            // libjpeg-turbo is Pillow's own decoder.
            let tolerance = if decoder() == "image" { 1.0 } else { 0.0 };
            (!equal && far >= tolerance).then(|| format!("other pixels, {far:.2} away in the mean"))
        }
        (Err(_), Pillow::Refused {}) => None,
        (Ok(_), Pillow::Refused {}) => Some("read, but not by Pillow".into()),
        (Err(error), Pillow::Read { .. }) if other_format(&error) => Some("refused: not recognized".into()),
        (Err(error), Pillow::Read { .. }) => Some(format!("refused: {error}")),
    }
}

/// The folder of the images, and what keeps it; `None` where there are none.
fn folder(root: &Path) -> Option<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = std::env::var_os("REPSERVE_CORPORA") {
        return Some((folder.into(), None));
    }
    let archive = root.join("../shared/hostile/corpora.tar");
    if !archive.exists() {
        eprintln!("neither REPSERVE_CORPORA nor {}: nothing to check", archive.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut untar = Command::new("tar");
    untar.arg("-xf").arg(&archive).arg("-C").arg(folder.path());
    assert!(untar.status().unwrap().success());
    Some((folder.path().to_owned(), Some(folder)))
}

#[test]
fn what_pillow_reads_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((folder, _kept)) = folder(root) else { return };
    let corpora = std::fs::read(root.join("tests/vectors/corpora.json")).unwrap();
    let corpora: Corpora = serde_json::from_slice(&corpora).unwrap();
    assert!(corpora.files.len() > 500);
    let mut unexpected = Vec::new();
    let (mut read, mut refused) = (0, 0);
    for (name, pillow) in &corpora.files {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let known = DIFFERENT.iter().find(|(part, _)| name.contains(part));
        let found = difference(&bytes, pillow);
        read += usize::from(matches!(pillow, Pillow::Read { .. }));
        refused += usize::from(found.as_ref().is_some_and(|found| found.starts_with("refused")));
        match (found, known) {
            (Some(found), None) => unexpected.push(format!("{name}: {found}")),
            (None, Some((_, reason))) => unexpected.push(format!("{name}: as in Pillow after all, not: {reason}")),
            _ => {}
        }
    }
    eprintln!("of {read} files that Pillow reads, {refused} are refused");
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    assert!(refused * 100 <= read * REFUSED_PERCENT_MAX, "{refused} of {read}");
}
