//! The rewrite: chosen sites become operators, blocked from one to the next, with conversions at the ends of chains only.

use std::collections::HashMap;
use std::sync::Arc;

use super::sites::Site;
use crate::operators::{DOMAIN, Layers, operator};
use repserve_graph::{AttributeValue, Graph, Model, NodeId, Tensor, Value, ValueId, parallel};
use repserve_kernels::{Isa, KernelError, PreparedConv, SourceLayout};

/// Prefix of the names of the operators that stand for a site; the site's output follows.
pub(super) const LAYER: &str = "repserve.conv/";
/// Prefix of the names of conversions.
pub(super) const CONVERSION: &str = "repserve.layout/";

/// The layers of `sites`, prepared on all cores.
pub(super) fn prepare(sites: &[Site], isa: Isa) -> Result<Vec<Arc<PreparedConv>>, KernelError> {
    let mut layers: Vec<Option<_>> = sites.iter().map(|_| None).collect();
    parallel::for_each(sites.iter().zip(&mut layers), |(site, place)| {
        *place = Some(layer(site, isa));
    });
    layers.into_iter().flatten().collect()
}

fn layer(site: &Site, isa: Isa) -> Result<Arc<PreparedConv>, KernelError> {
    let (weights, bias) = (floats(&site.weights), site.bias.as_ref().map(floats));
    PreparedConv::new(site.conv, site.algorithm, site.layout, isa, &weights, bias.as_deref()).map(Arc::new)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

/// The model with those `sites` lowered that are `chosen`; `prepared` holds a layer for each.
pub(super) fn lower(model: &Model, sites: &[Site], prepared: &[Arc<PreparedConv>], chosen: &[bool]) -> (Model, Layers) {
    let mut model = model.clone();
    let mut rewrite = Rewrite {
        graph: &mut model.graph,
        blocked: HashMap::new(),
        layers: Vec::new(),
    };
    let sites = sites.iter().zip(prepared).zip(chosen);
    let lowered: Vec<_> = sites.filter(|(_, chosen)| **chosen).map(|(site, _)| site).collect();
    for (site, layer) in &lowered {
        rewrite.site(site, layer);
    }
    for (site, _) in &lowered {
        rewrite.leave(site);
    }
    let layers = rewrite.layers;
    if !layers.is_empty() {
        model.opsets.push((DOMAIN.to_owned(), 1));
        model.graph.sweep();
    }
    (model, Layers::blocked(layers))
}

struct Rewrite<'a> {
    graph: &'a mut Graph,
    /// The blocked form of a value, and where it is converted back if a node needs that.
    blocked: HashMap<ValueId, ValueId>,
    layers: Vec<Arc<PreparedConv>>,
}

impl Rewrite<'_> {
    fn site(&mut self, site: &Site, layer: &Arc<PreparedConv>) {
        let Some(place) = site.nodes.last().copied() else {
            return;
        };
        let input = match layer.layout() {
            SourceLayout::Nchw => site.input,
            SourceLayout::Blocked => self.enter(site.input, place),
        };
        let mut inputs = vec![input];
        if let Some(residual) = site.residual {
            inputs.push(self.enter(residual, place));
        }
        let name = self.graph.value(site.output).name.clone();
        let output = self.graph.add_value(Value::named(format!("{name}.blocked")));
        let op = if site.residual.is_some() {
            "BlockedConvAdd"
        } else {
            "BlockedConv"
        };
        let node = operator(op, format!("{LAYER}{name}"), inputs, output)
            .with("layer", AttributeValue::Int(self.layers.len() as i64));
        self.graph.insert_node(Some(place), node);
        for id in &site.nodes {
            self.graph.remove_node(*id);
        }
        self.layers.push(Arc::clone(layer));
        self.blocked.insert(site.output, output);
    }

    /// The blocked form of `value`, made before `place` where there is none yet.
    fn enter(&mut self, value: ValueId, place: NodeId) -> ValueId {
        if let Some(known) = self.blocked.get(&value) {
            return *known;
        }
        let name = self.graph.value(value).name.clone();
        let blocked = self.graph.add_value(Value::named(format!("{name}.blocked")));
        let node = operator("ToBlocked", format!("{CONVERSION}{name}"), vec![value], blocked);
        self.graph.insert_node(Some(place), node);
        self.blocked.insert(value, blocked);
        blocked
    }

    /// Gives those that still read a site's output what they expect.
    fn leave(&mut self, site: &Site) {
        let (Some(&blocked), Some(&place)) = (self.blocked.get(&site.output), site.nodes.last()) else {
            return;
        };
        let channels = AttributeValue::Int(site.conv.out_channels as i64);
        for id in &site.means {
            let Some((output, node)) = self.graph.node(*id).and_then(|n| Some((n.output(0)?, n))) else {
                continue;
            };
            let name = format!("{CONVERSION}{}", node.name);
            self.graph.remove_node(*id);
            let mean = operator("MeanOfBlocked", name, vec![blocked], output);
            self.graph
                .insert_node(Some(*id), mean.with("channels", channels.clone()));
        }
        if self.graph.use_count(site.output) > 0 {
            let name = self.graph.value(site.output).name.clone();
            let node = operator("FromBlocked", format!("{CONVERSION}{name}"), vec![blocked], site.output);
            self.graph.insert_node(Some(place), node.with("channels", channels));
        }
    }
}
