//! The way from a deploy graph to what a session is made of.
//!
//! Each site has the one algorithm that `kernels::fastest` names, which is the same on every machine of a kind. Whether it takes the
//! place of ONNX Runtime's is measured: both graphs run in turns, and [`decide`] takes the times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::decide::{Timed, decide};
use super::lower::{self, LAYER};
use super::measure::{Measured, measure};
use super::sites::{self, Site};
use super::{ChosenLayer, Layers, Lowered, WinogradMode, WinogradReport};
use crate::{Runtime, RuntimeError};
use repserve_graph::Model;
use repserve_graph::onnx::{self, ExternalData};
use repserve_kernels::{Convolution, Isa, PreparedConv, SourceLayout};

/// Lowers `onnx`, a whole deploy graph with its weights inside, as `mode` says, for images of `shape` (channels, height, width).
/// `output` is the output that sessions read, the first if not given.
///
/// In `auto`, a graph that cannot be lowered or measured is left as it is, with the reason in the report.
///
/// # Errors
/// With `on`, a graph that cannot be read or a layer that cannot be prepared.
pub fn lower_for_session(
    runtime: &Runtime,
    onnx: &Bytes,
    mode: WinogradMode,
    shape: [usize; 3],
    output: Option<&str>,
) -> Result<Lowered, RuntimeError> {
    let start = Instant::now();
    let isa = Isa::detect();
    let mut report = WinogradReport {
        mode,
        instruction_set: isa.name(),
        ..WinogradReport::default()
    };
    let plain = |report| Lowered {
        model: onnx.clone(),
        layers: Layers::default(),
        report,
    };
    if mode == WinogradMode::Off {
        report.reason = Some("switched off".to_owned());
        return Ok(plain(report));
    }
    let lowered = Trial::new(onnx, isa, shape).and_then(|trial| {
        report.layers = trial.sites.iter().map(|s| describe(&trial.model, s)).collect();
        match mode {
            WinogradMode::Auto => trial.measured(runtime, onnx, shape, output, &mut report),
            _ => trial.lowered(&vec![true; trial.sites.len()]),
        }
    });
    report.seconds = start.elapsed().as_secs_f64();
    match lowered {
        Ok((_, layers)) if layers.is_empty() => {
            report.reason = Some(
                if report.layers.is_empty() {
                    "no convolution that the kernels compute"
                } else {
                    "ONNX Runtime alone is as fast"
                }
                .to_owned(),
            );
            Ok(plain(report))
        }
        Ok((model, layers)) => {
            report.lowered = layers.len();
            report.weight_bytes = layers.bytes();
            if mode == WinogradMode::On {
                report.layers.iter_mut().for_each(|l| l.choice.clone_from(&l.algorithm));
            }
            Ok(Lowered { model, layers, report })
        }
        Err(error) if mode == WinogradMode::Auto => {
            report.reason = Some(format!("it could not be measured: {error}"));
            Ok(plain(report))
        }
        Err(error) => Err(error),
    }
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
    let (rows, columns) = site.out_size();
    ChosenLayer {
        name: model.graph.value(site.output).name.clone(),
        shape: format!("{in_channels} -> {out_channels}, {kh}x{kw}, stride {sh}{groups}, to {rows}x{columns}"),
        choice: ChosenLayer::LEFT.to_owned(),
        algorithm: site.algorithm.to_string(),
        ms_onnxruntime: None,
        ms_kernels: None,
    }
}

struct Trial {
    model: Model,
    sites: Vec<Site>,
    prepared: Vec<Arc<PreparedConv>>,
    lanes: usize,
}

impl Trial {
    fn new(onnx: &Bytes, isa: Isa, shape: [usize; 3]) -> Result<Self, RuntimeError> {
        let model = onnx::read(onnx.clone(), &ExternalData::None).map_err(|e| RuntimeError::Model(e.to_string()))?;
        let sites = sites::find(&model, isa, shape);
        let prepared = lower::prepare(&sites, isa).map_err(|e| RuntimeError::Model(e.to_string()))?;
        let lanes = isa.lanes();
        Ok(Self {
            model,
            sites,
            prepared,
            lanes,
        })
    }

    fn lowered(&self, chosen: &[bool]) -> Result<(Bytes, Layers), RuntimeError> {
        let (model, layers) = lower::lower(&self.model, &self.sites, &self.prepared, chosen);
        let encoded = onnx::write(model).map_err(|e| RuntimeError::Model(e.to_string()))?;
        Ok((encoded.into(), layers))
    }

    fn measured(
        &self,
        runtime: &Runtime,
        plain: &Bytes,
        shape: [usize; 3],
        output: Option<&str>,
        report: &mut WinogradReport,
    ) -> Result<(Bytes, Layers), RuntimeError> {
        if self.sites.is_empty() {
            return Ok((plain.clone(), Layers::default()));
        }
        let (model, layers) = self.lowered(&vec![true; self.sites.len()])?;
        let measured = measure(
            runtime,
            [(plain, Layers::default()), (&model, layers.clone())],
            shape,
            output,
        )?;
        let timed = self.timed(&measured);
        let chosen = decide(&timed, [measured[0].ms, measured[1].ms]);
        report.ms_onnxruntime = Some(measured[0].ms);
        report.ms_lowered = Some(measured[1].ms);
        for ((line, timed), chosen) in report.layers.iter_mut().zip(&timed).zip(&chosen) {
            line.ms_onnxruntime = timed.ms_plain;
            line.ms_kernels = Some(timed.ms_lowered);
            if *chosen {
                line.choice.clone_from(&line.algorithm);
            }
        }
        if chosen.iter().all(|c| *c) {
            return Ok((model, layers));
        }
        self.lowered(&chosen)
    }

    fn timed(&self, [plain, lowered]: &[Measured; 2]) -> Vec<Timed> {
        let mut kinds = HashMap::new();
        let graph = &self.model.graph;
        let readers = sites::readers(&self.sites);
        self.sites
            .iter()
            .map(|site| {
                let count = kinds.len();
                let kind = (site.conv, site.size, site.residual.is_some());
                let names = site.names(graph);
                let found: Vec<f64> = names.iter().filter_map(|n| plain.nodes.get(n).copied()).collect();
                let name = format!("{LAYER}{}", graph.value(site.output).name);
                let (rows, columns) = site.out_size();
                let floats = |channels: usize, pixels: usize| channels.next_multiple_of(self.lanes) * pixels;
                let made = floats(site.conv.out_channels, rows * columns);
                let taken = floats(site.conv.in_channels, site.size[0] * site.size[1]);
                let input = (site.layout == SourceLayout::Blocked).then_some((site.input, taken));
                Timed {
                    kind: *kinds.entry(kind).or_insert(count),
                    ms_plain: (!found.is_empty()).then(|| found.iter().sum()),
                    ms_lowered: lowered.nodes.get(&name).copied().unwrap_or(f64::INFINITY),
                    reads: input.into_iter().chain(site.residual.map(|r| (r, made))).collect(),
                    output: (site.output, made),
                    leaves: graph.use_count(site.output)
                        > readers.get(&site.output).copied().unwrap_or(0) + sites::means(graph, site.output),
                }
            })
            .collect()
    }
}
