//! Running a graph on images and looking at what is inside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use repserve_graph::onnx;
use repserve_graph::{Model, ValueId, parallel};

use crate::error::Error;
use crate::job::{GraphRunner, Load, Values};
use crate::layers::Layer;
use crate::moments::Moments;
use crate::range::Histogram;

/// Smallest and largest value of each channel.
pub(super) type Bounds = Vec<[f32; 2]>;

/// The values that layers read and return, each once, in graph order.
pub(super) fn watched(layers: &[Layer]) -> Vec<ValueId> {
    let mut values: Vec<ValueId> = Vec::new();
    for value in layers.iter().flat_map(|l| [l.input, l.output]) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// The model with more outputs behind its own, loaded. A value that is an output already is one twice.
pub(super) fn load_with_outputs<'a>(
    model: &Model,
    values: &[ValueId],
    load: &Load<'a>,
) -> Result<GraphRunner<'a>, Error> {
    let mut model = model.clone();
    for value in values {
        if model.graph.inputs.contains(value) || model.graph.outputs.contains(value) {
            // A graph input cannot be an output, and no output may be listed twice.
            let name = format!("{}_seen", model.graph.value(*value).name);
            let seen = model.graph.add_value(repserve_graph::Value::named(name));
            model
                .graph
                .push_node(repserve_graph::Node::new("Identity", vec![*value], vec![seen]));
            model.graph.value_mut(seen).dtype = Some(repserve_graph::DType::F32);
            model.graph.outputs.push(seen);
        } else {
            model.graph.value_mut(*value).dtype = Some(repserve_graph::DType::F32);
            model.graph.outputs.push(*value);
        }
    }
    load(&onnx::write(model)?).map_err(Error::Run)
}

/// Runs an image; at least `count` values must come out.
pub(super) fn run(runner: &mut GraphRunner<'_>, image: &[f32], count: usize) -> Result<Vec<Values>, Error> {
    let values = runner(image).map_err(Error::Run)?;
    if values.len() < count {
        return Err(Error::Run(format!("{} outputs came out, not {count}", values.len())));
    }
    Ok(values)
}

/// Widens `bounds` by the values of one image of shape (1, channels, …).
pub(super) fn widen(bounds: &mut Bounds, values: &Values) {
    let channels = values.shape.get(1).copied().unwrap_or(1).max(1);
    bounds.resize(channels, [0.0; 2]);
    let plane = (values.data.len() / channels).max(1);
    for (bound, plane) in bounds.iter_mut().zip(values.data.chunks(plane)) {
        for value in plane.iter().filter(|v| v.is_finite()) {
            bound[0] = bound[0].min(*value);
            bound[1] = bound[1].max(*value);
        }
    }
}

/// Distributions of the watched values.
pub(super) struct Observed {
    /// A histogram a watched value.
    pub(super) histograms: BTreeMap<ValueId, Histogram>,
    /// The graph's own first output, an image each.
    pub(super) outputs: Vec<Vec<f32>>,
    /// Values that each layer returns, for one image.
    pub(super) sizes: Vec<usize>,
}

/// Runs `model` on every image and gathers histograms within `bounds`.
pub(super) fn observe(
    model: &Model,
    layers: &[Layer],
    bounds: &HashMap<ValueId, [f32; 2]>,
    images: &[&[f32]],
    load: &Load<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Observed, Error> {
    let values = watched(layers);
    let own = model.graph.outputs.len();
    let place: HashMap<ValueId, usize> = values.iter().enumerate().map(|(i, v)| (*v, own + i)).collect();
    let mut runner = load_with_outputs(model, &values, load)?;
    let histogram = |v: &ValueId| {
        let [low, high] = bounds.get(v).copied().unwrap_or_default();
        Mutex::new((*v, Histogram::new(low, high)))
    };
    let histograms: Vec<_> = values.iter().map(histogram).collect();
    let mut outputs = Vec::with_capacity(images.len());
    let mut sizes = vec![0; layers.len()];
    for (number, image) in images.iter().enumerate() {
        let mut seen = run(&mut runner, image, own + values.len())?;
        parallel::for_each(0..histograms.len(), |i| {
            let mut slot = lock(&histograms[i]);
            let at = place[&slot.0];
            slot.1.add(&seen[at].data);
        });
        for (size, layer) in sizes.iter_mut().zip(layers) {
            *size = seen[place[&layer.output]].data.len();
        }
        outputs.push(std::mem::take(&mut seen[0].data));
        progress(number + 1);
    }
    Ok(Observed {
        histograms: histograms.into_iter().map(into_inner).collect(),
        outputs,
        sizes,
    })
}

/// Runs `model` on every image and gathers the moments of what each of `layers` reads.
pub(super) fn moments(
    model: &Model,
    layers: &[Layer],
    images: &[&[f32]],
    load: &Load<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Moments>, Error> {
    let mut inputs: Vec<ValueId> = layers.iter().map(|l| l.input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    let own = model.graph.outputs.len();
    let mut runner = load_with_outputs(model, &inputs, load)?;
    let gathered: Vec<_> = layers
        .iter()
        .map(|l| Mutex::new(Moments::new(l, images.len())))
        .collect();
    let scratch = Mutex::new(Vec::new());
    for (number, image) in images.iter().enumerate() {
        let seen = run(&mut runner, image, own + inputs.len())?;
        parallel::for_each(0..layers.len(), |i| {
            let place = inputs.binary_search(&layers[i].input).unwrap_or_default();
            let input = &seen[own + place];
            let mut buffer = lock(&scratch).pop().unwrap_or_default();
            lock(&gathered[i]).add(&layers[i], input, number as u64, &mut buffer);
            lock(&scratch).push(buffer);
        });
        progress(number + 1);
    }
    Ok(gathered.into_iter().map(into_inner).collect())
}

/// Consecutive layers whose moments fit into `bytes_max` together; at least one each.
pub(super) fn passes(layers: &[Layer], bytes_max: usize) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (i, layer) in layers.iter().enumerate() {
        let more = Moments::bytes(layer);
        match found.last_mut() {
            Some(last) if bytes + more <= bytes_max => last.end = i + 1,
            _ => {
                found.push(i..i + 1);
                bytes = 0;
            }
        }
        bytes += more;
    }
    found
}

/// A lock whose holder cannot have left a half-made value behind: a panic ends the scope, and with it the work.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(super) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
