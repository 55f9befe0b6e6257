//! The way from a deploy graph to what a session is made of.
//!
//! Each site has the one algorithm that `kernels::fastest` names, which is the same on every machine of a kind. Whether it takes the
//! place of ONNX Runtime's is measured: both graphs run, and [`decide`] takes the times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::decide::{Timed, decide};
use super::lower::{self, LAYER};
use super::measure::{Measured, Measuring};
use super::report::{KernelReport, LayerReport};
use super::sites::{self, Site};
use crate::error::RuntimeError;
use crate::locate::Runtime;
use crate::session_model::SessionModel;
use crate::settings::KernelMode;
use repserve_graph::Model;
use repserve_kernels::{Convolution, Isa, PreparedConv, SourceLayout};

/// A model whose convolutions in f32 have been looked at.
#[derive(Debug)]
pub struct LoweredModel {
    /// What sessions are made of; the deploy graph itself where nothing is lowered.
    pub model: SessionModel,
    /// What was chosen, and why.
    pub report: KernelReport,
}

/// Lowers a deploy graph as `mode` says, for images of `shape` (channels, height, width). `plain` is `model` without lowering, and
/// `output` the output that sessions read, the first if not given.
///
/// In `auto`, a graph that cannot be lowered or measured is left as it is, with the reason in the report.
///
/// # Errors
/// With `on`, a layer that cannot be prepared.
pub fn lower(
    runtime: &Runtime,
    model: &Model,
    plain: &SessionModel,
    mode: KernelMode,
    shape: [usize; 3],
    output: Option<&str>,
) -> Result<LoweredModel, RuntimeError> {
    lower_releasing(runtime, model, plain, mode, shape, output, &|| ())
}

/// The same; `release` is called each time when the weights of `model` have been read, which may lie in a file.
///
/// # Errors
/// As [`lower`].
pub fn lower_releasing(
    runtime: &Runtime,
    model: &Model,
    plain: &SessionModel,
    mode: KernelMode,
    shape: [usize; 3],
    output: Option<&str>,
    release: &dyn Fn(),
) -> Result<LoweredModel, RuntimeError> {
    let start = Instant::now();
    let isa = Isa::detect();
    let mut report = KernelReport {
        mode,
        instruction_set: isa.name().into(),
        ..KernelReport::default()
    };
    let lowered = match mode {
        KernelMode::Off => {
            report.reason = Some("switched off".to_owned());
            return Ok(LoweredModel {
                model: plain.clone(),
                report,
            });
        }
        KernelMode::On => Trial::new(model, sites::find(model, isa, shape), isa, &mut report).and_then(|t| t.all()),
        KernelMode::Auto => {
            let sites = sites::find(model, isa, shape);
            let measuring = (!sites.is_empty()).then(|| Measuring::new(runtime, output, shape, release));
            measuring.transpose().and_then(|measuring| match measuring {
                Some(measuring) => measured(&measuring, model, plain, sites, isa, &mut report),
                None => Ok(None),
            })
        }
    };
    release();
    report.seconds = start.elapsed().as_secs_f64();
    let model = match lowered {
        Ok(Some(model)) => {
            report.lowered = model.layers.len();
            report.weight_bytes = model.layers.bytes();
            if mode == KernelMode::On {
                report.layers.iter_mut().for_each(|l| l.choice.clone_from(&l.algorithm));
            }
            model
        }
        Ok(None) => {
            let reason = if report.layers.is_empty() {
                "no convolution that the kernels compute"
            } else {
                "ONNX Runtime alone is as fast"
            };
            report.reason = Some(reason.to_owned());
            plain.clone()
        }
        Err(error) if mode == KernelMode::Auto => {
            report.reason = Some(format!("it could not be measured: {error}"));
            plain.clone()
        }
        Err(error) => return Err(error),
    };
    Ok(LoweredModel { model, report })
}

fn describe(model: &Model, site: &Site) -> LayerReport {
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
    LayerReport {
        name: model.graph.value(site.output).name.clone(),
        shape: format!("{in_channels} -> {out_channels}, {kh}x{kw}, stride {sh}{groups}, to {rows}x{columns}"),
        choice: LayerReport::LEFT.to_owned(),
        algorithm: site.algorithm.to_string(),
        ms_onnxruntime: None,
        ms_kernels: None,
    }
}

/// The model with those sites lowered that gain by it. ONNX Runtime's own way is measured before the layers are prepared, so that there are
/// never two copies of the weights but the file's.
fn measured(
    measuring: &Measuring<'_>,
    model: &Model,
    plain: &SessionModel,
    sites: Vec<Site>,
    isa: Isa,
    report: &mut KernelReport,
) -> Result<Option<SessionModel>, RuntimeError> {
    report.layers = sites.iter().map(|site| describe(model, site)).collect();
    let plain = measuring.run(plain)?;
    let trial = Trial::new(model, sites, isa, report)?;
    measuring.release();
    trial.chosen(measuring, &plain, report)
}

struct Trial<'a> {
    model: &'a Model,
    sites: Vec<Site>,
    prepared: Vec<Arc<PreparedConv>>,
    lanes: usize,
}

impl<'a> Trial<'a> {
    /// Names the convolutions in the report and prepares them.
    fn new(model: &'a Model, sites: Vec<Site>, isa: Isa, report: &mut KernelReport) -> Result<Self, RuntimeError> {
        report.layers = sites.iter().map(|site| describe(model, site)).collect();
        let prepared = lower::prepare(&sites, isa).map_err(|e| RuntimeError::Model(e.to_string()))?;
        Ok(Self {
            model,
            sites,
            prepared,
            lanes: isa.lanes(),
        })
    }

    /// The model with all sites lowered; `None` where there are none.
    fn all(&self) -> Result<Option<SessionModel>, RuntimeError> {
        self.lowered(&vec![true; self.sites.len()])
    }

    /// The model with these sites lowered; `None` where none is chosen.
    fn lowered(&self, chosen: &[bool]) -> Result<Option<SessionModel>, RuntimeError> {
        if !chosen.contains(&true) {
            return Ok(None);
        }
        let (model, layers) = lower::lower(self.model, &self.sites, &self.prepared, chosen);
        SessionModel::with_layers(model, layers).map(Some)
    }

    /// The model with those sites lowered that `plain`, what ONNX Runtime alone takes, recommends; `None` where that is none.
    fn chosen(
        &self,
        measuring: &Measuring<'_>,
        plain: &Measured,
        report: &mut KernelReport,
    ) -> Result<Option<SessionModel>, RuntimeError> {
        let Some(all) = self.all()? else {
            return Ok(None);
        };
        let lowered = measuring.run(&all)?;
        let timed = self.timed(plain, &lowered);
        let chosen = decide(&timed, [plain.ms, lowered.ms]);
        report.ms_onnxruntime = Some(plain.ms);
        report.ms_lowered = Some(lowered.ms);
        for ((line, timed), chosen) in report.layers.iter_mut().zip(&timed).zip(&chosen) {
            line.ms_onnxruntime = timed.ms_plain;
            line.ms_kernels = Some(timed.ms_lowered);
            if *chosen {
                line.choice.clone_from(&line.algorithm);
            }
        }
        if chosen.iter().all(|c| *c) {
            return Ok(Some(all));
        }
        self.lowered(&chosen)
    }

    fn timed(&self, plain: &Measured, lowered: &Measured) -> Vec<Timed> {
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
                        > readers.get(&site.output).copied().unwrap_or(0) + site.means.len(),
                }
            })
            .collect()
    }
}
