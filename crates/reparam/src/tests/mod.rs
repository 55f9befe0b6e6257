//! The pipeline against a naive evaluation of whole graphs.

mod build;
mod dags;
mod dialects;
mod evaluate;
mod families;
mod hostile;
mod networks;
mod refusals;
mod report;
mod untouched;

use build::Net;
use bytes::Bytes;

use super::report::Report;
use super::{Options, reparameterize};
use repserve_graph::onnx::{self, ExternalData};
use repserve_graph::{Model, verify};

/// What came out of the pipeline, and how far it is from what went in.
struct Outcome {
    train: Model,
    deploy: Model,
    report: Report,
    /// Largest difference of an output, relative to the largest number in the train-time graph.
    error: f64,
}

fn reread(bytes: &[u8]) -> Model {
    let model = onnx::read(Bytes::copy_from_slice(bytes), &ExternalData::None).expect("a valid model");
    verify::verify(&model.graph).expect("a valid graph");
    model
}

/// Fuses the net, evaluates both graphs, and checks what always holds: a valid graph, idempotence.
fn fuse_with(net: &Net, options: &Options) -> Outcome {
    let bytes = onnx::write(net.model()).expect("writes");
    let deployed = reparameterize(&bytes, options).expect("reparameterizes");
    let again = reparameterize(&deployed.onnx, options).expect("reparameterizes again");
    assert!(
        again.onnx == deployed.onnx,
        "a second run changes nothing:\n{}\n{}",
        deployed.report,
        again.report
    );
    let (train, deploy) = (reread(&bytes), reread(&deployed.onnx));
    let error = difference(&train, &deploy);
    Outcome {
        train,
        deploy,
        report: deployed.report,
        error,
    }
}

fn fuse(net: &Net) -> Outcome {
    fuse_with(net, &Options::default())
}

/// The largest difference of the outputs that both have.
fn difference(train: &Model, deploy: &Model) -> f64 {
    let mut worst = 0.0f64;
    for seed in 0..2 {
        let a = evaluate::run(train, seed);
        let b = evaluate::run(deploy, seed);
        let scale = a.values().flat_map(|t| &t.data).fold(1e-30f64, |m, v| m.max(v.abs()));
        for id in deploy.graph.outputs.iter() {
            let name = &deploy.graph.value(*id).name;
            let (a, b) = (&a[name], &b[name]);
            assert_eq!(a.shape, b.shape, "output {name}");
            let pairs = a.data.iter().zip(&b.data);
            worst = pairs.fold(worst, |m, (a, b)| m.max((a - b).abs() / scale));
        }
    }
    worst
}

impl Outcome {
    /// How many nodes of operator `op` the deploy graph has.
    fn count(&self, op: &str) -> usize {
        self.report.deploy.count(op)
    }
}
