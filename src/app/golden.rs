//! Whether a model gives its golden answers, on the sessions that are to serve.

use crate::classify::topk;
use crate::config::Settings;
use crate::repository::{Golden, GoldenError};
use repserve_compile::Compiled;
use repserve_scheduler::Session as _;

/// Compares what the model says of each image with what is right.
///
/// # Errors
/// The first image of which it says something else, or that it cannot be run on.
pub(super) fn check(compiled: &mut Compiled, golden: &[Golden], settings: &Settings) -> Result<(), GoldenError> {
    for answer in golden {
        check_one(compiled, answer, settings)?;
    }
    if !golden.is_empty() {
        let model = &compiled.description.manifest.name;
        tracing::info!(model, images = golden.len(), "gives its golden answers");
    }
    Ok(())
}

fn check_one(compiled: &mut Compiled, answer: &Golden, settings: &Settings) -> Result<(), GoldenError> {
    let name = || answer.name.clone();
    let description = &compiled.description;
    let classes = description.labels.iter().enumerate();
    if !classes.clone().any(|(index, label)| answer.is(index, label)) {
        return Err(GoldenError::NoClass {
            name: name(),
            class: answer.class.clone(),
        });
    }
    let limits = settings.limits.image();
    let bytes = answer.read(limits.bytes_max)?;
    let decoded = description.preprocess.apply(&bytes, &limits, settings.decode.jpeg);
    let input = decoded
        .map_err(|error| GoldenError::Image { name: name(), error })?
        .tensor;
    let run = |reason: String| GoldenError::Run { name: name(), reason };
    let session = compiled
        .sessions
        .narrow
        .first_mut()
        .ok_or_else(|| run("there is no session".to_owned()))?;
    let rows = session.run(&[input]).map_err(|error| run(error.to_string()))?;
    let found = rows
        .first()
        .and_then(|row| topk::classes(&row.values, description.scores, 1));
    let best = found.as_ref().and_then(|classes| classes.first());
    let best = best.ok_or_else(|| run("its output is not finite".to_owned()))?;
    let label = description.labels.get(best.index).map_or("", String::as_str);
    if answer.is(best.index, label) {
        return Ok(());
    }
    Err(GoldenError::Wrong {
        name: name(),
        found: label.to_owned(),
        probability: best.probability,
        expected: answer.class.clone(),
    })
}
