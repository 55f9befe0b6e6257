//! The pictures whose class changed, as the model sees them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::document::Document;
use super::variants::Variant;
use crate::classify::Tensor;
use crate::cli::classify::files::Listed;
use crate::config::Settings;

/// Pictures of a report at most.
const PICTURES_MAX: usize = 120;
/// JPEG's quality.
const QUALITY: u8 = 85;

/// JPEGs in base64 by the images' places: the first that changed. Those that cannot be made again are left out; the page then has none for them.
pub(super) fn changed(variants: &[Variant], document: &Document, settings: &Settings) -> BTreeMap<usize, String> {
    let mut pictures = BTreeMap::new();
    let Some(variant) = variants.first().filter(|v| v.image[0] == 3) else {
        return pictures;
    };
    let changes = document.comparisons.iter().flat_map(|c| &c.comparison.changed);
    for change in changes {
        if pictures.len() == PICTURES_MAX {
            break;
        }
        if pictures.contains_key(&change.image) {
            continue;
        }
        let picture = tensor(variant, document, change.image, settings)
            .and_then(|tensor| variant.preprocess.picture(&tensor, QUALITY).ok());
        if let Some(picture) = picture {
            pictures.insert(change.image, STANDARD.encode(picture));
        }
    }
    pictures
}

fn tensor(variant: &Variant, document: &Document, image: usize, settings: &Settings) -> Option<Tensor> {
    let listed = Listed {
        path: document.seen.get(image)?.path.clone(),
        unreadable: None,
    };
    let file = listed.read(settings.limits.image_bytes_max as u64).ok()?;
    let decoded = variant
        .preprocess
        .apply(&file, &settings.limits.image(), settings.decode.jpeg);
    Some(decoded.ok()?.tensor)
}
