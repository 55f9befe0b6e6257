//! Classifiers of every kind that exporters write, through the whole product, against ONNX Runtime on the original file.

use std::collections::HashSet;
use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use repserve::app;
use repserve::classify::{Item, Served, Wanted, classify};
use repserve::telemetry::Metrics;
use repserve_compile::{Fused, Source};
use repserve_graph::{DType, onnx};
use repserve_runtime::{Batching, ModelSession, Runtime, SessionOptions};
use repserve_scheduler::Request;

use crate::support::classifiers::{BATCH_INSIDE, Classifier, Dialect, End, Layout, Quantization, SIDE};
use crate::support::settings;

const DIALECTS: [Dialect; 9] = [
    Dialect::Branches,
    Dialect::Folded,
    Dialect::ChannelsLast,
    Dialect::QuantizePairs(Quantization::USUAL),
    Dialect::QuantizedBetween,
    Dialect::IntegerOperators(Quantization::USUAL),
    Dialect::Half,
    Dialect::HalfWeights,
    Dialect::Reshaped,
];
const LAYOUTS: [Layout; 8] = [
    Layout::First,
    Layout::Last,
    Layout::ImageFirst,
    Layout::ImageLast,
    Layout::Batch,
    Layout::Free,
    Layout::Gray,
    Layout::GrayLast,
];
const ELEMENTS: [DType; 4] = [DType::F32, DType::F16, DType::F64, DType::U8];
const ENDS: [End; 8] = [
    End::Logits,
    End::Softmax,
    End::Quotient,
    End::LogSoftmax,
    End::Sigmoid,
    End::OneLogit,
    End::Map,
    End::Row,
];
/// What images become for graphs of floats.
const MEAN_STD: [f32; 2] = [0.45, 0.25];

/// Choices of all four such that each possible pair of two choices occurs in one.
fn pairs_of_choices() -> Vec<Classifier> {
    let counts = [DIALECTS.len(), LAYOUTS.len(), ELEMENTS.len(), ENDS.len()];
    let total: usize = counts.iter().product();
    let mut seen = HashSet::new();
    let mut chosen = Vec::new();
    // A step without a common divisor with the total visits all, each far from the one before.
    for at in 0..total {
        let mut rest = at * 1_009 % total;
        let choice = counts.map(|count| {
            let index = rest % count;
            rest /= count;
            index
        });
        let classifier = Classifier {
            dialect: DIALECTS[choice[0]],
            layout: LAYOUTS[choice[1]],
            element: ELEMENTS[choice[2]],
            end: ENDS[choice[3]],
        };
        let pairs = (0..4).flat_map(|a| (0..a).map(move |b| (a, b)));
        let pairs: Vec<_> = pairs.map(|(a, b)| (a, choice[a], b, choice[b])).collect();
        if classifier.exists() && pairs.iter().any(|pair| !seen.contains(pair)) {
            seen.extend(pairs);
            chosen.push(classifier);
        }
    }
    chosen
}

fn pixels() -> RgbImage {
    let side = SIDE as u32;
    RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 21) as u8, (y * 23) as u8, ((x * 7 + y * 13) * 3) as u8])
    })
}

/// The image as the graph's input, channel by channel.
fn tensor(classifier: &Classifier) -> Vec<f32> {
    let image = pixels();
    let channel = |c: usize| image.pixels().map(move |pixel| u32::from(pixel.0[c]));
    let planes: Vec<u32> = match classifier.layout.channels() {
        1 => image
            .pixels()
            .map(|pixel| pixel.0.map(u32::from))
            .map(|[r, g, b]| (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16)
            .collect(),
        _ => (0..3).flat_map(channel).collect(),
    };
    let [mean, std] = MEAN_STD;
    let value = |level: u32| match classifier.element {
        DType::U8 => level as f32,
        _ => (level as f32 / 255.0 - mean) / std,
    };
    planes.into_iter().map(value).collect()
}

/// Probabilities from the row that ONNX Runtime computes with the original file; `None` where it does not run it.
fn expected(runtime: &Runtime, file: &[u8], classifier: &Classifier) -> Option<Vec<f32>> {
    let session = ModelSession::from_memory(runtime, file, &SessionOptions::default()).ok()?;
    let batching = match classifier.dialect {
        Dialect::Reshaped => Batching::Fixed(BATCH_INSIDE),
        _ => Batching::Free,
    };
    let shape = [classifier.layout.channels(), SIDE, SIDE];
    let image = tensor(classifier);
    let row = session.with_batching(batching).run(&[&image], shape).unwrap().remove(0);
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    Some(match classifier.end {
        End::Softmax | End::Quotient | End::Map | End::Sigmoid => row,
        End::LogSoftmax => row.iter().map(|x| x.exp()).collect(),
        End::OneLogit => vec![1.0 - sigmoid(row[0]), sigmoid(row[0])],
        End::Logits | End::Row => {
            let most = row.iter().copied().fold(f32::MIN, f32::max);
            let exponentials: Vec<f32> = row.iter().map(|x| (x - most).exp()).collect();
            let sum: f32 = exponentials.iter().sum();
            exponentials.iter().map(|x| x / sum).collect()
        }
    })
}

/// Loads the model as the server does.
fn served(file: &[u8], classifier: &Classifier) -> Served {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), file).unwrap();
    let (scale, [mean, std]) = match classifier.element {
        DType::U8 => (1.0, [0.0, 1.0]),
        _ => (255.0, MEAN_STD),
    };
    let manifest = format!(
        "name = \"m\"\nversion = \"1\"\nfile = \"model.onnx\"\n[input]\nsize = [{SIDE}, {SIDE}]\nscale = {scale:?}\nmean = [{mean:?}, {mean:?}, {mean:?}]\nstd = [{std:?}, {std:?}, {std:?}]\n"
    );
    std::fs::write(folder.path().join("model.toml"), manifest).unwrap();
    let mut settings = settings();
    settings.model.path = folder.path().to_owned();
    settings.runtime.measure_ms_max = 1;
    settings.runtime.measure_batch_max = 2;
    let metrics = Metrics::new().unwrap();
    app::load(&settings, &metrics, &|_| ()).unwrap_or_else(|error| panic!("{classifier:?}: {error:#}"))
}

async fn probabilities(served: &Served) -> Vec<f32> {
    let mut png = Cursor::new(Vec::new());
    DynamicImage::from(pixels())
        .write_to(&mut png, ImageFormat::Png)
        .unwrap();
    let item = Item {
        name: None,
        bytes: png.into_inner().into(),
    };
    let wanted = Wanted {
        top_k: 100,
        ..Wanted::default()
    };
    let response = classify(served, vec![item], wanted, &Request::patient(), None)
        .await
        .unwrap();
    let classes = &response.predictions[0].classes;
    let mut by_index = vec![f32::NAN; classes.len()];
    classes
        .iter()
        .for_each(|class| by_index[class.index] = class.probability);
    by_index
}

/// How far a probability may lie beside that of the original file: what one rounding step more or less makes.
fn tolerance(classifier: &Classifier) -> f32 {
    match (classifier.dialect, classifier.element) {
        (Dialect::QuantizePairs(_) | Dialect::QuantizedBetween | Dialect::IntegerOperators(_), _) => 3e-2,
        (Dialect::Half, _) | (_, DType::F16) => 1e-2,
        _ => 1e-4,
    }
}

/// Serves the classifiers, and compares each with ONNX Runtime; how many of them that runs.
async fn check(classifiers: impl IntoIterator<Item = Classifier>) -> usize {
    let runtime = Runtime::load(None).unwrap();
    let mut checked = 0;
    for classifier in classifiers {
        let file = onnx::write(classifier.model()).unwrap();
        let Some(expected) = expected(&runtime, &file, &classifier) else {
            continue;
        };
        let served = served(&file, &classifier);
        let found = probabilities(&served).await;
        let differ = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance(&classifier);
        let same = found.len() == expected.len() && found.iter().zip(&expected).all(differ);
        assert!(same, "{classifier:?}: {found:?} is not {expected:?}");
        checked += 1;
    }
    checked
}

/// Serves every second of the pairs of choices, from `part` on.
async fn check_pairs(part: usize) {
    let half: Vec<_> = pairs_of_choices().into_iter().skip(part).step_by(2).collect();
    let count = half.len();
    assert_eq!(check(half).await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_half_of_what_exporters_write_is_served_right() {
    check_pairs(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_half_of_what_exporters_write_is_served_right() {
    check_pairs(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quantized_graphs_of_every_pairing_are_served_right() {
    let mut classifiers = Vec::new();
    for bits in 0..32_u32 {
        let choice = |bit: u32| bits >> bit & 1 == 1;
        let dtype = |signed| if signed { DType::I8 } else { DType::U8 };
        let quantization = Quantization {
            activations: dtype(choice(0)),
            weights: dtype(choice(1)),
            by_channel: choice(2),
            shared: choice(3),
        };
        let dialect = match choice(4) {
            false => Dialect::QuantizePairs(quantization),
            true => Dialect::IntegerOperators(quantization),
        };
        classifiers.push(Classifier {
            dialect,
            layout: Layout::First,
            element: DType::F32,
            end: End::Softmax,
        });
    }
    // ONNX Runtime has no `QLinearConv` of signed activations and unsigned weights.
    let checked = check(classifiers).await;
    assert!(checked >= 28, "{checked}");
}

#[test]
fn transpositions_of_channels_last_fold_away() {
    for layout in [Layout::First, Layout::Last, Layout::GrayLast] {
        let classifier = Classifier {
            dialect: Dialect::ChannelsLast,
            layout,
            element: DType::F32,
            end: End::Softmax,
        };
        let source = Source {
            onnx: onnx::write(classifier.model()).unwrap().into(),
            ..Source::default()
        };
        let fused = Fused::new(source).unwrap();
        let counts = fused.model().graph.op_counts();
        let count = |op: &str| counts.get(op).copied().unwrap_or(0);
        let own = usize::from(layout != Layout::First);
        assert_eq!((count("Transpose"), count("Conv")), (own, 2), "{layout:?}");
    }
}
