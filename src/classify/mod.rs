//! The path of one request: images are admitted together, decoded and run by the scheduler, and their outputs become classes.
//!
//! [`back_pressure`] gives a request a place when its head has arrived; [`engine`] joins preprocessing and sessions for the scheduler; [`Served`] is one model as it is served and
//! [`Models`] finds it by name; [`statistics`] is what it has done; [`topk`] is the arithmetic.

mod back_pressure;
mod engine;
mod inspect;
mod models;
mod observer;
mod served;
mod shadow;
mod statistics;
pub mod topk;

pub use back_pressure::{Admitted, BackPressure, HeadWork, Sender};
pub use engine::{DecodeLimits, Encoded, ImageEngine, Rebuild, Tensor, TooMuchWork};
pub use models::{Models, compare_versions};
pub use observer::MetricsObserver;
pub use served::{Leftover, Served};
pub use shadow::Shadow;
pub use statistics::{Statistics, Total, Totals};
pub use topk::Class;

use std::time::{Duration, Instant};

use bytes::Bytes;

use repserve_preprocess::ImageError;
use repserve_runtime::Row;
use repserve_scheduler::{Outcome, Payload, Rejected, Request, Reservation, SessionError, Timings};

/// Characters of an image's name that an error repeats at most.
const NAME_CHARS_MAX: usize = 100;

/// One image of a request.
#[derive(Debug, Clone)]
pub struct Item {
    /// What its sender calls it.
    pub name: Option<String>,
    /// The encoded image.
    pub bytes: Bytes,
}

/// A place that is kept for a request.
pub type Reserved = Reservation<ImageEngine>;

/// What a request for classes returns.
#[derive(Debug)]
pub struct Classification {
    /// One for each image, in order.
    pub predictions: Vec<Prediction>,
    /// The longest that any of the images spent in each stage.
    pub timings: Timings,
    /// Time spent on probabilities and best classes.
    pub postprocess: Duration,
}

/// The classes of one image.
#[derive(Debug)]
pub struct Prediction {
    /// What its sender calls it.
    pub name: Option<String>,
    /// The best classes, best first; none where there is an error.
    pub classes: Vec<Class>,
    /// The inner value that was requested, row-major; none where there is an error.
    pub embedding: Option<Vec<f32>>,
    /// Why there are no classes for this image; only where broken images are [reported](Broken::Reported).
    pub error: Option<Failure>,
}

/// What becomes of a request of which an image is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// The request fails.
    #[default]
    Refused,
    /// The image has its error, the others their classes.
    Reported,
}

/// What is wanted of each image.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Its best classes; how many.
    pub top_k: usize,
    /// What becomes of the others where it is broken.
    pub broken: Broken,
    /// An inner value as well: its place among the signature's embeddings.
    pub embedding: Option<usize>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was not admitted.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// One of its images cannot be read.
    #[error("{part}: {error}")]
    Invalid {
        /// Which image.
        part: String,
        /// What is wrong with it.
        error: ImageError,
    },
    /// Its images take too long to decode.
    #[error(transparent)]
    TooMuchWork(TooMuchWork),
    /// Its deadline passed.
    #[error("the deadline passed while the request waited")]
    Expired,
    /// The server shut down before it was done.
    #[error("the server shut down before the request was done")]
    Aborted,
    /// The session failed.
    #[error("inference failed: {0}")]
    Session(SessionError),
    /// The model returned NaN or infinity.
    #[error("the model's output is NaN or infinity for this input; its values may be too large")]
    NotFinite,
}

impl Failure {
    /// The error's kind as a word for programs, stable over versions: what its part calls it, or one of `too_large`, `deadline`,
    /// `draining`, `not_finite` and `internal`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejected) => rejected.code(),
            Self::Invalid { error, .. } => error.code(),
            Self::TooMuchWork(_) => "too_large",
            Self::Expired => "deadline",
            Self::Aborted => "draining",
            Self::NotFinite => "not_finite",
            Self::Session(_) => "internal",
        }
    }
}

/// Classifies the images of one request: all of them or none, unless broken ones are to be reported. Dropping the future abandons them.
/// `admitted` is the place that it got when its head arrived.
///
/// # Errors
/// That of the first image that failed; see [`Failure`].
pub async fn classify(
    served: &Served,
    items: Vec<Item>,
    wanted: Wanted,
    request: &Request,
    admitted: Option<Admitted>,
) -> Result<Classification, Failure> {
    let payload = |item: Item| (item.name, Payload::Raw(item.bytes));
    let (names, work): (Vec<_>, Vec<_>) = items.into_iter().map(payload).unzip();
    let (outputs, timings) = run(served, work, &names, wanted.broken, request, admitted).await?;
    let began = Instant::now();
    let outputs = names.into_iter().zip(outputs);
    let predictions = outputs.map(|(name, output)| predict(served, name, output, wanted));
    let predictions = predictions.collect::<Result<_, Failure>>();
    let postprocess = began.elapsed();
    Ok(Classification {
        predictions: predictions.inspect_err(|_| tracing::error!(model = served.name(), "the output is not finite"))?,
        timings,
        postprocess,
    })
}

/// The best classes of one image, or why there are none.
fn predict(served: &Served, name: Option<String>, output: Output, wanted: Wanted) -> Result<Prediction, Failure> {
    let found = output.and_then(|mut row| {
        let classes = topk::classes(&row.values, served.scores(), wanted.top_k).ok_or(Failure::NotFinite)?;
        let embedding = wanted
            .embedding
            .and_then(|at| row.further.get_mut(at))
            .map(std::mem::take);
        if embedding.iter().flatten().all(|x| x.is_finite()) {
            Ok((classes, embedding))
        } else {
            Err(Failure::NotFinite)
        }
    });
    let (mut classes, embedding, error) = match found {
        Ok((classes, embedding)) => (classes, embedding, None),
        Err(failure) if wanted.broken == Broken::Reported => (Vec::new(), None, Some(failure)),
        Err(failure) => return Err(failure),
    };
    classes.retain(|class| class.probability >= served.threshold());
    Ok(Prediction {
        name,
        classes,
        embedding,
        error,
    })
}

/// Runs the items of one request, encoded or ready for the model: all of them or none. One row of values for each, in order,
/// and the longest that any of them spent in each stage.
///
/// # Errors
/// That of the first item that failed; see [`Failure`].
pub async fn infer(
    served: &Served,
    work: Vec<Payload<Bytes, Tensor>>,
    request: &Request,
    admitted: Option<Admitted>,
) -> Result<(Vec<Row>, Timings), Failure> {
    let names = vec![None; work.len()];
    let (outputs, timings) = run(served, work, &names, Broken::Refused, request, admitted).await?;
    Ok((outputs.into_iter().collect::<Result<_, _>>()?, timings))
}

/// One image's row of values, or why there is none.
type Output = Result<Row, Failure>;

/// Computes the items, and lets the version that is to take over compute some of them as well.
async fn run(
    served: &Served,
    work: Vec<Payload<Bytes, Tensor>>,
    names: &[Option<String>],
    broken: Broken,
    request: &Request,
    admitted: Option<Admitted>,
) -> Result<(Vec<Output>, Timings), Failure> {
    let began = Instant::now();
    let twin = served.shadow().and_then(|shadow| shadow.twin(served, &work));
    let ran = compute(served, work, names, broken, request, admitted).await;
    served.statistics().request(ran.is_ok(), began.elapsed());
    if let (Some(twin), Ok((rows, _))) = (twin, &ran) {
        twin.compare(shadow::best_labels(served, rows));
    }
    ran
}

async fn compute(
    served: &Served,
    work: Vec<Payload<Bytes, Tensor>>,
    names: &[Option<String>],
    broken: Broken,
    request: &Request,
    admitted: Option<Admitted>,
) -> Result<(Vec<Output>, Timings), Failure> {
    let batcher = served.batcher();
    let sender = admitted.as_ref().map(|admitted| admitted.sender);
    let told = |rejected: &Rejected| {
        if let (Rejected::Overloaded { retry_after, .. }, Some(sender)) = (rejected, sender) {
            served.back_pressure().told(sender, *retry_after);
        }
    };
    // Before the headers are read: what cannot be admitted is to cost little.
    let reservation = match admitted.and_then(|admitted| admitted.reservation) {
        Some(reservation) => reservation,
        None => {
            let reserved = batcher.reserve(work.len(), encoded_bytes(&work), request);
            reserved.inspect_err(told)?
        }
    };
    let inspected = inspect::inspect(batcher, work, names).await?;
    let (work, mut outputs) = sound(inspected, broken)?;
    if work.is_empty() {
        return Ok((outputs, Timings::default()));
    }
    let submitted = batcher.submit(work, request, Some(reservation));
    let mut pending = submitted.inspect_err(told)?;
    let outcomes = match request.deadline {
        None => pending.await,
        Some(at) => match tokio::time::timeout_at(at.into(), &mut pending).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                pending.expire();
                return Err(Failure::Expired);
            }
        },
    };
    let mut timings = Timings::default();
    let places = outputs.iter_mut().enumerate().filter(|(_, output)| output.is_ok());
    for ((index, place), outcome) in places.zip(outcomes) {
        match completed(outcome, index, names.len(), names[index].as_deref()) {
            Ok((output, spent)) => {
                timings = longest(timings, spent);
                *place = Ok(output);
            }
            Err(invalid @ Failure::Invalid { .. }) if broken == Broken::Reported => *place = Err(invalid),
            Err(failure) => return Err(failure),
        }
    }
    Ok((outputs, timings))
}

/// Work that can be done.
type Work = Vec<Payload<Encoded, Tensor>>;

/// The work that can be done, and a place for the output of each image: empty, or why there will be none.
fn sound(inspected: Vec<inspect::Inspected>, broken: Broken) -> Result<(Work, Vec<Output>), Failure> {
    let mut work = Vec::with_capacity(inspected.len());
    let mut outputs = Vec::with_capacity(inspected.len());
    for image in inspected {
        match image {
            Ok(image) => {
                work.push(image);
                outputs.push(Ok(Row::default()));
            }
            Err(failure) if broken == Broken::Reported => outputs.push(Err(failure)),
            Err(failure) => return Err(failure),
        }
    }
    Ok((work, outputs))
}

fn encoded_bytes(work: &[Payload<Bytes, Tensor>]) -> u64 {
    let bytes = work.iter().map(|payload| match payload {
        Payload::Raw(encoded) => encoded.len() as u64,
        Payload::Ready(_) => 0,
    });
    bytes.sum()
}

fn completed(
    outcome: Outcome<Row, ImageError>,
    index: usize,
    of: usize,
    name: Option<&str>,
) -> Result<(Row, Timings), Failure> {
    match outcome {
        Outcome::Completed { output, timings } => Ok((output, timings)),
        Outcome::Invalid(error) => Err(Failure::Invalid {
            part: part(index, of, name),
            error,
        }),
        Outcome::Expired => Err(Failure::Expired),
        Outcome::Aborted => Err(Failure::Aborted),
        Outcome::Failed(error) => {
            tracing::error!(%error, "inference failed");
            Err(Failure::Session(error))
        }
    }
}

fn part(index: usize, of: usize, name: Option<&str>) -> String {
    match (of, name) {
        (1, None) => "the image".to_owned(),
        (_, None) => format!("image {}", index + 1),
        (_, Some(name)) => {
            let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
            format!("image {} ({shown:?})", index + 1)
        }
    }
}

fn longest(a: Timings, b: Timings) -> Timings {
    Timings {
        decode: a.decode.max(b.decode),
        preprocess: a.preprocess.max(b.preprocess),
        queue: a.queue.max(b.queue),
        inference: a.inference.max(b.inference),
        batch_size: a.batch_size.max(b.batch_size),
    }
}
