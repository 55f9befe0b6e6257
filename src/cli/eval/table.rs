//! An evaluation as CSV: a row an image, three columns a variant.

use anyhow::Context;

use super::document::Document;

/// `file,label_index,label`, and for each variant its best class: `NAME_index,NAME_label,NAME_probability`.
pub(super) fn csv(document: &Document) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head: Vec<String> = ["file", "label_index", "label"].map(str::to_owned).to_vec();
    for variant in &document.variants {
        head.extend(["index", "label", "probability"].map(|column| format!("{}_{column}", variant.name)));
    }
    writer.write_record(&head)?;
    for (i, image) in document.seen.iter().enumerate() {
        let label = image.label;
        let mut row = vec![
            image.path.to_string_lossy().into_owned(),
            label.map_or_else(String::new, |class| class.to_string()),
            label.map_or_else(String::new, |class| document.label(class).to_owned()),
        ];
        for predictions in &document.predictions {
            match predictions[i].best() {
                Some(best) => row.extend([
                    best.class.to_string(),
                    document.label(best.class).to_owned(),
                    best.probability.to_string(),
                ]),
                None => row.extend([const { String::new() }; 3]),
            }
        }
        writer.write_record(&row)?;
    }
    let bytes = writer.into_inner().context("the rows cannot be written")?;
    Ok(String::from_utf8(bytes)?)
}
