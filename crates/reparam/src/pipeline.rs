//! The passes in order, to a bounded fixed point.

use std::collections::HashSet;

use crate::error::Error;
use crate::options::{Options, Unfused};
use crate::passes::kept::Kept;
use crate::passes::{fold_constants, fuse_linear, merge_branches, rewrite_borders, sink_transposes};
use crate::report::Block;
use repserve_graph::shapes::Shapes;
use repserve_graph::{Model, ValueId, verify};

/// Rounds after which the pipeline stops, whether or not the last one changed something.
const ROUNDS_MAX: usize = 8;

/// What the pipeline did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was fused, in graph order.
    pub(crate) blocks: Vec<Block>,
    /// Whether the graph is another than before.
    pub(crate) changed: bool,
    /// What a reader should know besides.
    pub(crate) warnings: Vec<String>,
}

/// Rewrites the model's graph into its deploy form. `shapes` are those of the model, and of what it became afterwards.
///
/// # Errors
/// An output that does not exist, or a pass that broke the graph.
pub(crate) fn run(model: &mut Model, options: &Options, shapes: &mut Shapes) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    if let Some(name) = &options.output {
        outcome.changed |= select_output(model, name, &options.further)?;
    }
    if options.unfused == Unfused::All {
        return Ok(outcome);
    }
    let opset = model.opset();
    let verified = |model: &Model, pass| verify_after(model, pass, options);
    outcome.changed |= swept(model);
    verified(model, "sweep")?;
    let folded = fold_constants::run(&mut model.graph, opset);
    verified(model, "fold_constants")?;
    let sunk = sink_transposes::run(&mut model.graph, opset);
    outcome.changed |= sunk > 0;
    verified(model, "sink_transposes")?;
    let rewritten = rewrite_borders::run(&mut model.graph, opset);
    verified(model, "rewrite_borders")?;
    if folded + sunk + rewritten > 0 {
        *shapes = Shapes::infer(&model.graph, opset);
    }
    let mut kept = Kept::new(&options.unfused);
    for _ in 0..ROUNDS_MAX {
        let mut blocks = fuse_linear::run(&mut model.graph, opset, shapes, &mut kept);
        verified(model, "fuse_linear")?;
        let mut partial = merge_branches::run(&mut model.graph, opset, shapes, &mut kept);
        verified(model, "merge_branches")?;
        blocks.splice(0..0, partial.drain(..));
        if blocks.is_empty() {
            break;
        }
        outcome.changed = true;
        blocks.reverse();
        outcome.blocks.append(&mut blocks);
    }
    outcome.changed |= swept(model);
    if outcome.changed {
        outcome.warnings.extend(fixed_inputs(model));
    }
    // The result is verified whatever the options say.
    verify::verify(&model.graph).map_err(|source| Error::Broken { pass: "sweep", source })?;
    shapes.update(&model.graph, opset);
    Ok(outcome)
}

/// Keeps one of the model's outputs, and those of `further` that it has.
fn select_output(model: &mut Model, name: &str, further: &[String]) -> Result<bool, Error> {
    let graph = &mut model.graph;
    let names: Vec<String> = graph.outputs.iter().map(|v| graph.value(*v).name.clone()).collect();
    let Some(keep) = graph.find(name).filter(|v| graph.outputs.contains(v)) else {
        return Err(Error::NoSuchOutput {
            name: name.to_owned(),
            known: names.join(", "),
        });
    };
    let also: Vec<_> = further.iter().filter_map(|name| graph.find(name)).collect();
    graph.outputs.retain(|v| *v == keep || also.contains(v));
    let fewer = graph.outputs.len() < names.len();
    if fewer {
        graph.sweep();
    }
    Ok(fewer)
}

/// Takes weights off the list of inputs: after fusing, feeding others would have no effect on those already used.
fn fixed_inputs(model: &mut Model) -> Option<String> {
    let graph = &mut model.graph;
    let weights: HashSet<ValueId> = graph
        .inputs
        .iter()
        .copied()
        .filter(|v| graph.constant(*v).is_some())
        .collect();
    graph.inputs.retain(|v| !weights.contains(v));
    let count = weights.len();
    (count > 0).then(|| format!("{count} weights were listed as inputs with default values; they are constants now"))
}

/// Removes what no output needs; whether there was such.
fn swept(model: &mut Model) -> bool {
    let swept = model.graph.sweep();
    swept.nodes + swept.constants > 0
}

/// Verifies the graph that `pass` left, where the options or a build with assertions ask for it.
fn verify_after(model: &Model, pass: &'static str, options: &Options) -> Result<(), Error> {
    if options.verify_passes || cfg!(debug_assertions) {
        verify::verify(&model.graph).map_err(|source| Error::Broken { pass, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_graph::{Node, Value};

    #[test]
    fn an_invalid_graph_names_the_pass_that_left_it() {
        let mut model = Model::default();
        let [x, y] = ["x", "y"].map(|name| model.graph.add_value(Value::named(name)));
        model.graph.push_node(Node::new("Relu", vec![x], vec![y]));
        let options = Options {
            verify_passes: true,
            ..Options::default()
        };
        let error = verify_after(&model, "fuse_linear", &options).unwrap_err();
        assert!(error.to_string().contains("the pass fuse_linear "), "{error}");
        model.graph.inputs.push(x);
        assert!(verify_after(&model, "fuse_linear", &options).is_ok());
    }
}
