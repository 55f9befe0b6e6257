//! The decision, by measurement on the machine that will serve.
//!
//! The graph runs under ONNX Runtime's profiler, as it is and with every site lowered, so that each layer is timed in its place: with
//! its weights as cold and its input as warm as they will be. Each layer takes its fastest algorithm. Two lowered graphs come out of
//! that, with and without the layers that lose alone (they may still save two conversions); whole runs of both and of the plain
//! graph, alternating, decide.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lower::{self, LAYER};
use super::profile::{self, Image, Times};
use super::sites::{self, Site};
use super::{ChosenLayer, Layers, Lowered, WinogradMode, WinogradReport};
use crate::graph::Model;
use crate::kernels::{Algorithm, Convolution, Isa, PreparedConv};
use crate::onnx;
use crate::runtime::{ModelSession, Runtime, RuntimeError, SessionOptions};

/// Time that one profiled graph may run.
const PROFILE_BUDGET: Duration = Duration::from_millis(60);
/// Time that the comparison of whole runs may take, and its rounds at least.
const COMPARE_BUDGET: Duration = Duration::from_millis(200);
const ROUNDS_MIN: usize = 3;
const ROUNDS_MAX: usize = 60;
/// A lowered graph must win by this factor; below it the plain one is as good and holds less memory.
const GAIN_MIN: f64 = 1.03;
/// F(2x2) saves at most this factor: a layer that F(4x4) made faster than that need not be tried with it.
const F2_GAIN_MAX: f64 = 2.25;

type Chosen = Vec<Option<Arc<PreparedConv>>>;

/// Lowers `model` as `mode` says, for images of `shape` (channels, height, width).
///
/// In `auto`, a graph that cannot be lowered is left as it is, with the reason in the report.
///
/// # Errors
/// When ONNX Runtime cannot run the plain model, or, with `on`, the lowered one.
pub fn lower_for_session(
    runtime: &Runtime,
    model: &Model,
    mode: WinogradMode,
    shape: [usize; 3],
) -> Result<Lowered, RuntimeError> {
    let start = Instant::now();
    let isa = Isa::detect();
    let sites = if mode == WinogradMode::Off {
        Vec::new()
    } else {
        sites::find(&model.graph, isa)
    };
    let mut report = WinogradReport {
        instruction_set: isa.name(),
        ..WinogradReport::default()
    };
    report.layers = sites.iter().map(|s| describe(model, s)).collect();
    if sites.is_empty() {
        let off = mode == WinogradMode::Off;
        report.reason = Some(
            if off {
                "switched off"
            } else {
                "no convolution that the kernels compute"
            }
            .to_owned(),
        );
        return Ok(Lowered {
            model: encode(model.clone())?,
            layers: Layers::default(),
            report,
        });
    }
    let mut trial = Trial {
        runtime,
        model,
        sites,
        isa,
        image: image(shape),
        prepared: HashMap::new(),
    };
    let chosen = match mode {
        WinogradMode::On => trial.first()?,
        _ => trial.measured(&mut report)?,
    };
    let (lowered, layers) = lower::lower(model, &trial.sites, &chosen);
    for (line, layer) in report.layers.iter_mut().zip(&chosen) {
        line.choice = layer
            .as_ref()
            .map_or(ChosenLayer::LEFT.to_owned(), |l| l.algorithm().to_string());
    }
    report.weight_bytes = layers.bytes();
    report.seconds = start.elapsed().as_secs_f64();
    Ok(Lowered {
        model: encode(lowered)?,
        layers,
        report,
    })
}

fn encode(model: Model) -> Result<Vec<u8>, RuntimeError> {
    onnx::write(model).map_err(|e| RuntimeError::Model(e.to_string()))
}

fn describe(model: &Model, site: &Site) -> ChosenLayer {
    let Convolution {
        in_channels,
        out_channels,
        groups,
        kernel: [kh, kw],
        strides: [sh, _],
        ..
    } = site.conv;
    let groups = if groups > 1 {
        format!(", {groups} groups")
    } else {
        String::new()
    };
    ChosenLayer {
        name: model.graph.value(site.output).name.clone(),
        shape: format!("{in_channels} -> {out_channels}, {kh}x{kw}, stride {sh}{groups}"),
        choice: ChosenLayer::LEFT.to_owned(),
        ms_onnxruntime: None,
        ms_kernels: Vec::new(),
    }
}

/// Numbers in [-1, 1) that are the same every time.
fn image(shape: [usize; 3]) -> Image {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    Image {
        pixels: (0..shape.iter().product()).map(|_| next()).collect(),
        shape,
    }
}

struct Trial<'a> {
    runtime: &'a Runtime,
    model: &'a Model,
    sites: Vec<Site>,
    isa: Isa,
    image: Image,
    prepared: HashMap<(usize, Algorithm), Arc<PreparedConv>>,
}

impl Trial<'_> {
    /// Every site with its first algorithm, unmeasured.
    fn first(&mut self) -> Result<Chosen, RuntimeError> {
        let wanted: Vec<_> = self
            .sites
            .iter()
            .map(|s| s.algorithms(self.isa).first().copied())
            .collect();
        self.prepare(&wanted)
    }

    /// Any failure (a folder for the profile that cannot be written, a graph that the rewrite breaks) leaves the model as it is.
    fn measured(&mut self, report: &mut WinogradReport) -> Result<Chosen, RuntimeError> {
        let plain = encode(self.model.clone())?;
        let decided = self
            .candidates(&plain, report)
            .and_then(|candidates| self.fastest(&plain, candidates, report));
        Ok(decided.unwrap_or_else(|error| {
            report.reason = Some(format!("measuring failed: {error}"));
            vec![None; self.sites.len()]
        }))
    }

    fn time_plain(&self, plain: &[u8], report: &mut WinogradReport) -> Result<(), RuntimeError> {
        let times = profile::measure(self.runtime, plain, &Layers::default(), &self.image, PROFILE_BUDGET)?;
        for (line, site) in report.layers.iter_mut().zip(&self.sites) {
            let names = site.names(&self.model.graph);
            let found: Vec<f64> = names.iter().filter_map(|n| times.get(n).copied()).collect();
            line.ms_onnxruntime = (!found.is_empty()).then(|| found.iter().sum());
        }
        Ok(())
    }

    /// Times the algorithms of every site; answers the lowered graphs that are worth a comparison.
    fn candidates(&mut self, plain: &[u8], report: &mut WinogradReport) -> Result<Vec<Chosen>, RuntimeError> {
        self.time_plain(plain, report)?;
        let mut best: Vec<(Algorithm, f64)> = Vec::new();
        for (round, algorithm) in [Algorithm::WinogradF4, Algorithm::WinogradF2, Algorithm::Direct]
            .into_iter()
            .enumerate()
        {
            let mut tried = vec![false; self.sites.len()];
            let mut wanted = Vec::new();
            for (index, site) in self.sites.iter().enumerate() {
                let supported = site.algorithms(self.isa);
                let first = supported.first().copied().unwrap_or(Algorithm::Direct);
                if round == 0 {
                    tried[index] = true;
                    wanted.push(first);
                } else {
                    let plain = report.layers[index].ms_onnxruntime.unwrap_or(f64::INFINITY);
                    let enough = if algorithm == Algorithm::WinogradF2 {
                        plain / F2_GAIN_MAX
                    } else {
                        plain
                    };
                    tried[index] = algorithm != first && supported.contains(&algorithm) && best[index].1 > enough;
                    wanted.push(if tried[index] { algorithm } else { best[index].0 });
                }
            }
            if !tried.contains(&true) {
                continue;
            }
            let times = self.times(&wanted)?;
            for (index, site) in self.sites.iter().enumerate().filter(|(i, _)| tried[*i]) {
                let name = format!("{LAYER}{}", self.model.graph.value(site.output).name);
                let ms = times.get(&name).copied().unwrap_or(f64::INFINITY);
                report.layers[index].ms_kernels.push((wanted[index].to_string(), ms));
                match best.get_mut(index) {
                    None => best.push((wanted[index], ms)),
                    Some(known) if ms < known.1 => *known = (wanted[index], ms),
                    Some(_) => {}
                }
            }
        }
        let all: Vec<_> = best.iter().map(|(a, _)| Some(*a)).collect();
        let winners: Vec<_> = best
            .iter()
            .zip(&report.layers)
            .map(|((a, ms), line)| (line.ms_onnxruntime.is_none_or(|plain| *ms < plain)).then_some(*a))
            .collect();
        let mut candidates = vec![self.prepare(&all)?];
        if winners != all {
            candidates.push(self.prepare(&winners)?);
        }
        Ok(candidates)
    }

    fn times(&mut self, wanted: &[Algorithm]) -> Result<Times, RuntimeError> {
        let wanted: Vec<_> = wanted.iter().map(|a| Some(*a)).collect();
        let chosen = self.prepare(&wanted)?;
        let (model, layers) = lower::lower(self.model, &self.sites, &chosen);
        profile::measure(self.runtime, &encode(model)?, &layers, &self.image, PROFILE_BUDGET)
    }

    /// The candidate whose whole run is fastest, if it is faster than the plain graph.
    fn fastest(
        &self,
        plain: &[u8],
        mut candidates: Vec<Chosen>,
        report: &mut WinogradReport,
    ) -> Result<Chosen, RuntimeError> {
        let session = |model: &[u8], layers: Layers| {
            let options = SessionOptions {
                threads: 1,
                layers,
                ..SessionOptions::default()
            };
            ModelSession::from_memory(self.runtime, model, &options)
        };
        let mut sessions = vec![session(plain, Layers::default())?];
        for chosen in &candidates {
            let (model, layers) = lower::lower(self.model, &self.sites, chosen);
            sessions.push(session(&encode(model)?, layers)?);
        }
        let medians = compare(&mut sessions, &self.image)?;
        let (best, ms) = medians[1..]
            .iter()
            .copied()
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((0, f64::INFINITY));
        (report.ms_plain, report.ms_lowered) = (Some(medians[0]), Some(ms));
        if ms * GAIN_MIN > medians[0] {
            report.reason = Some("ONNX Runtime alone is as fast".to_owned());
            return Ok(vec![None; self.sites.len()]);
        }
        Ok(candidates.swap_remove(best))
    }

    /// Prepares what is not yet, on all cores.
    fn prepare(&mut self, wanted: &[Option<Algorithm>]) -> Result<Chosen, RuntimeError> {
        let keys: Vec<Option<(usize, Algorithm)>> = wanted.iter().enumerate().map(|(i, a)| Some((i, (*a)?))).collect();
        let missing: Vec<_> = keys
            .iter()
            .flatten()
            .filter(|k| !self.prepared.contains_key(k))
            .copied()
            .collect();
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(missing.len());
        let (sites, isa) = (&self.sites, self.isa);
        let made = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let mine: Vec<_> = missing.iter().skip(first).step_by(threads).copied().collect();
                    scope.spawn(move || {
                        let layer = |key: (usize, Algorithm)| Ok((key, lower::prepare(&sites[key.0], key.1, isa)?));
                        mine.into_iter()
                            .map(layer)
                            .collect::<Result<Vec<_>, crate::kernels::KernelError>>()
                    })
                })
                .collect();
            workers.into_iter().map(|w| w.join()).collect::<Vec<_>>()
        });
        for result in made {
            let layers = result.map_err(|_| RuntimeError::Model("preparing a layer failed".to_owned()))?;
            self.prepared
                .extend(layers.map_err(|e| RuntimeError::Model(e.to_string()))?);
        }
        Ok(keys.into_iter().map(|k| self.prepared.get(&k?).cloned()).collect())
    }
}

/// Median milliseconds of one image's run, by session; the sessions take turns.
fn compare(sessions: &mut [ModelSession], image: &Image) -> Result<Vec<f64>, RuntimeError> {
    let mut times = vec![Vec::new(); sessions.len()];
    for session in sessions.iter_mut() {
        session.run(&[&image.pixels], image.shape)?;
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS_MIN || start.elapsed() < COMPARE_BUDGET && rounds < ROUNDS_MAX {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let start = Instant::now();
            session.run(&[&image.pixels], image.shape)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        rounds += 1;
    }
    Ok(times
        .into_iter()
        .map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[t.len() / 2]
        })
        .collect())
}
