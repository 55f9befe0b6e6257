//! How long conversion takes and how much memory: `cargo bench --bench reparam`.
//!
//! Each case builds a train-time RepVGG with random weights (3x3 + 1x1 + identity, batch normalization kept), writes it
//! to a file and converts it in a process of its own, file to file, as `repserve convert` does. The time is the best of
//! three conversions in that process, the processor time (all threads, the system's share included) their mean; the peak is
//! the process's largest resident set, file included.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use repserve_graph::onnx;
use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};
use repserve_reparam::{Options, reparameterize_to};

/// A case: name, blocks by stage, channels by stage, whether the first block of a stage halves the image.
const CASES: [(&str, &[usize], &[usize], bool); 3] = [
    ("RepVGG-A0", &[1, 2, 4, 14, 1], &[48, 48, 96, 192, 1280], true),
    ("RepVGG-B3", &[1, 4, 6, 16, 1], &[64, 192, 384, 768, 2560], true),
    ("5,000 blocks", &[5000], &[8], false),
];

/// Repetitions of the timed conversion.
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, file] = &arguments[..]
        && flag == "--convert"
    {
        convert(Path::new(file));
        return;
    }
    println!("| model | file MB | nodes | parameters | convert ms | processor ms | peak MB | peak / file |");
    println!("|---|---|---|---|---|---|---|---|");
    let folder = std::env::temp_dir().join(format!("repserve-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    for (name, blocks, channels, halves) in CASES {
        let file = folder.join("train.onnx");
        let model = repvgg(blocks, channels, halves);
        let (nodes, parameters) = (model.graph.node_count(), model.graph.parameter_count());
        let sink = BufWriter::new(File::create(&file).expect("a temporary file"));
        onnx::write_to(model, sink).expect("a model that can be written");
        report(name, &file, nodes, parameters);
    }
    let _ = fs::remove_dir_all(&folder);
}

/// Converts in a process of its own and prints a row.
fn report(name: &str, file: &Path, nodes: usize, parameters: usize) {
    let program = std::env::current_exe().expect("this program's path");
    let output = Command::new(program)
        .arg("--convert")
        .arg(file)
        .output()
        .expect("this program again");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().filter_map(|n| n.parse::<f64>().ok());
    let (Some(ms), Some(cpu_ms), Some(peak_kib)) = (numbers.next(), numbers.next(), numbers.next()) else {
        println!(
            "| {name} | failed: {} |",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return;
    };
    let bytes = fs::metadata(file).map_or(0, |m| m.len()) as f64;
    println!(
        "| {name} | {:.1} | {nodes} | {parameters} | {ms:.0} | {cpu_ms:.0} | {:.0} | {:.2} |",
        bytes / 1e6,
        peak_kib * 1024.0 / 1e6,
        peak_kib * 1024.0 / bytes
    );
}

/// Converts the file and prints milliseconds (best of [`RUNS`]), mean processor time and the peak resident set in KiB.
fn convert(file: &Path) {
    let out: PathBuf = file.with_extension("deploy.onnx");
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        let bytes = Bytes::from(fs::read(file).expect("the model"));
        let sink = BufWriter::new(File::create(&out).expect("the output"));
        let report = reparameterize_to(bytes, &Options::default(), sink).expect("a conversion");
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(report.deploy.count("BatchNormalization"), 0, "everything is fused");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let cpu_ms = processor_ms() / RUNS as f64;
    println!("{best} {cpu_ms} {}", peak.trim().trim_end_matches(" kB"));
}

/// Processor time of this process, from Linux's clock of a hundred ticks a second.
fn processor_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = fields.skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() * 10.0
}

/// Writes layers into a graph.
struct Builder {
    graph: Graph,
    seed: u32,
}

impl Builder {
    fn weights(&mut self, name: &str, shape: &[usize], low: f32, high: f32) -> ValueId {
        let count = shape.iter().product::<usize>();
        let mut values = Vec::with_capacity(count * 4);
        for _ in 0..count {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (self.seed >> 8) as f32 / (1u32 << 24) as f32;
            values.extend_from_slice(&(low + (high - low) * unit).to_le_bytes());
        }
        let tensor = Tensor::new(DType::F32, shape.to_vec(), values.into()).expect("a shape that fits");
        self.graph.add_constant(name, tensor)
    }

    fn node(&mut self, op: &str, inputs: Vec<ValueId>, attributes: &[(&str, AttributeValue)]) -> ValueId {
        let output = self.graph.add_value(Value::named(op.to_lowercase()));
        let node = Node::new(op, inputs, vec![output]);
        let node = attributes
            .iter()
            .fold(node, |n, (name, value)| n.with(*name, value.clone()));
        self.graph.push_node(node);
        output
    }

    fn normalize(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut inputs = vec![x];
        for (name, low, high) in [
            ("gamma", 0.5, 1.5),
            ("beta", -0.5, 0.5),
            ("mean", -0.5, 0.5),
            ("var", 0.5, 2.0),
        ] {
            inputs.push(self.weights(name, &[channels], low, high));
        }
        self.node(
            "BatchNormalization",
            inputs,
            &[("epsilon", AttributeValue::Float(1e-5))],
        )
    }

    fn branch(&mut self, x: ValueId, from: usize, to: usize, kernel: usize, stride: usize) -> ValueId {
        let bound = 1.0 / ((from * kernel * kernel) as f32).sqrt();
        let weight = self.weights("weight", &[to, from, kernel, kernel], -bound, bound);
        let ints = |v: usize, n: usize| AttributeValue::Ints(vec![v as i64; n]);
        let attributes = [
            ("kernel_shape", ints(kernel, 2)),
            ("pads", ints(kernel / 2, 4)),
            ("strides", ints(stride, 2)),
        ];
        let y = self.node("Conv", vec![x, weight], &attributes);
        self.normalize(y, to)
    }

    fn block(&mut self, x: ValueId, from: usize, to: usize, stride: usize) -> ValueId {
        let dense = self.branch(x, from, to, 3, stride);
        let point = self.branch(x, from, to, 1, stride);
        let mut sum = self.node("Add", vec![dense, point], &[]);
        if from == to && stride == 1 {
            let same = self.normalize(x, to);
            sum = self.node("Add", vec![sum, same], &[]);
        }
        self.node("Relu", vec![sum], &[])
    }
}

/// A train-time RepVGG on 224x224 images with a thousand classes.
fn repvgg(blocks: &[usize], channels: &[usize], halves: bool) -> Model {
    let mut builder = Builder {
        graph: Graph::default(),
        seed: 1,
    };
    let mut input = Value::named("input");
    input.dtype = Some(DType::F32);
    let batch = Dim::Symbol("batch".to_owned());
    input.shape = Some(vec![batch, Dim::Fixed(3), Dim::Fixed(224), Dim::Fixed(224)]);
    let mut x = builder.graph.add_value(input);
    builder.graph.inputs.push(x);
    let mut from = 3;
    for (count, to) in blocks.iter().zip(channels) {
        for index in 0..*count {
            let stride = if halves && index == 0 { 2 } else { 1 };
            x = builder.block(x, from, *to, stride);
            from = *to;
        }
    }
    let pooled = builder.node("GlobalAveragePool", vec![x], &[]);
    let flat = builder.node("Flatten", vec![pooled], &[]);
    let weight = builder.weights("fc.weight", &[1000, from], -0.1, 0.1);
    let bias = builder.weights("fc.bias", &[1000], -0.1, 0.1);
    let logits = builder.node("Gemm", vec![flat, weight, bias], &[("transB", AttributeValue::Int(1))]);
    builder.graph.outputs.push(logits);
    builder.graph.name = "repvgg".to_owned();
    Model {
        graph: builder.graph,
        ir_version: 8,
        opsets: vec![(String::new(), 17)],
        ..Model::default()
    }
}
