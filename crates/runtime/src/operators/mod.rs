//! The operators of the domain `repserve`, as ONNX Runtime calls them, and the layers that they run.

mod blocked;
mod int8;
mod layers;
mod quantize;

pub(super) use int8::{Int8Op, written_steps};
pub use layers::{Int8Kernels, Layers};
pub(super) use quantize::ENTER;

use std::fmt;

use ort::operator::{ComputeContext, KernelContext};

use repserve_graph::{Node, ValueId};
use repserve_kernels::{Executor, Sequential};

/// The domain of the operators.
pub(super) const DOMAIN: &str = "repserve";

/// A node of the domain.
pub(super) fn operator(op: &str, name: String, inputs: Vec<ValueId>, output: ValueId) -> Node {
    Node {
        name,
        domain: DOMAIN.to_owned(),
        ..Node::new(op, inputs, vec![output])
    }
}

/// Which of `count` layers a node's attribute `layer` names.
fn layer_of(context: &KernelContext<'_>, count: usize) -> ort::Result<usize> {
    let index = context.get::<i64>("layer").and_then(|i| usize::try_from(i).ok());
    index.filter(|i| *i < count).ok_or_else(|| failed("no such layer"))
}

/// Extents of a tensor as ONNX Runtime gives them.
fn extents<const N: usize>(shape: [i64; N]) -> ort::Result<[usize; N]> {
    let mut extents = [0; N];
    for (to, from) in extents.iter_mut().zip(shape) {
        *to = usize::try_from(from).map_err(|_| failed(format!("a tensor of shape {shape:?}")))?;
    }
    Ok(extents)
}

fn failed(what: impl fmt::Display) -> ort::Error {
    ort::Error::new(what.to_string())
}

/// Runs tasks on the session's own intra-operator threads.
struct OnPool<'a> {
    context: &'a ComputeContext,
    threads: usize,
}

impl Executor for OnPool<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // As many batches as tasks, so that a thread that is done takes the next; fewer would share tasks out beforehand. Tasks may
        // run again: they write the same values.
        if tasks < 2 || self.threads < 2 || self.context.par_for(tasks, tasks, task).is_err() {
            Sequential.run(tasks, task);
        }
    }
}
