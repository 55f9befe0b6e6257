//! What exporters write in different ways, and what must pass through untouched.

use bytes::Bytes;

use super::{encoded, node, tensor, value_info};
use crate::onnx::rope::Rope;
use crate::onnx::wire::fields;
use crate::onnx::{ExternalData, OnnxError, read, write};
use crate::{AttributeValue, DType, Model, Tensor};

fn text(number: u32, value: &str) -> Rope {
    let mut rope = Rope::default();
    rope.bytes(number, value.as_bytes());
    rope
}

/// A model with one `Relu` and what `graph` and `model` add.
fn with(graph: impl FnOnce(&mut Rope), model: impl FnOnce(&mut Rope)) -> Bytes {
    let mut g = Rope::default();
    g.message(1, node("Relu", &["x"], &["y"]));
    g.message(11, value_info("x"));
    g.message(12, value_info("y"));
    graph(&mut g);
    let mut m = Rope::default();
    m.int(1, 8);
    m.message(7, g);
    model(&mut m);
    encoded(m)
}

fn read_ok(bytes: Bytes) -> Model {
    read(bytes, &ExternalData::None).unwrap()
}

/// Every field of the model, sorted: the order of fields has no meaning.
fn sorted(bytes: &[u8], deep: &[u32]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for field in fields(bytes) {
        let field = field.unwrap();
        if deep.contains(&field.number) {
            all.extend(sorted(field.bytes().unwrap(), &[]));
        } else {
            all.push(field.raw.to_vec());
        }
    }
    all.sort();
    all
}

fn check_survives(bytes: Bytes) {
    let written = write(read_ok(bytes.clone())).unwrap();
    assert_eq!(sorted(&written, &[7]), sorted(&bytes, &[7]));
}

/// An initializer without raw data, filled by `fill`.
fn typed(code: i64, extent: i64, fill: impl FnOnce(&mut Rope)) -> Tensor {
    let mut t = Rope::default();
    t.int(1, extent);
    t.int(2, code);
    t.bytes(8, b"w");
    fill(&mut t);
    let model = read_ok(with(|g| g.message(5, t), |_| {}));
    let w = model.graph.find("w").unwrap();
    model.graph.constant(w).unwrap().clone()
}

#[test]
fn initializers_in_every_encoding() {
    let floats = typed(1, 2, |t| t.bytes(4, &[0, 0, 128, 63, 0, 0, 0, 64]));
    assert_eq!(floats.to_f64().unwrap(), [1.0, 2.0]);
    let unpacked = typed(1, 2, |t| [1.0, 2.0].iter().for_each(|v| t.float(4, *v)));
    assert_eq!(unpacked.to_f64().unwrap(), [1.0, 2.0]);
    let doubles = typed(11, 1, |t| t.bytes(10, &1.5f64.to_le_bytes()));
    assert_eq!(doubles.to_f64().unwrap(), [1.5]);
    let longs = typed(7, 2, |t| {
        t.bytes(7, &[3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
    });
    assert_eq!(longs.to_i64().unwrap(), [3, -1]);
    let ints = typed(6, 2, |t| [7, -7].iter().for_each(|v| t.int(5, *v)));
    assert_eq!(ints.to_i64().unwrap(), [7, -7]);
    let halves = typed(10, 1, |t| t.int(5, 0x3c00));
    assert_eq!((halves.dtype(), halves.to_f64().unwrap()), (DType::F16, vec![1.0]));
    let brains = typed(16, 1, |t| t.int(5, 0x3f80));
    assert_eq!((brains.dtype(), brains.to_f64().unwrap()), (DType::BF16, vec![1.0]));
    let bytes = typed(3, 1, |t| t.int(5, -2));
    assert_eq!((bytes.dtype(), bytes.to_i64().unwrap()), (DType::I8, vec![-2]));
    let booleans = typed(9, 2, |t| t.bytes(5, &[0, 1]));
    assert_eq!(
        (booleans.dtype(), booleans.to_i64().unwrap()),
        (DType::Bool, vec![0, 1])
    );
}

#[test]
fn strings_and_unmodelled_types_survive() {
    check_survives(with(
        |g| {
            let mut strings = Rope::default();
            strings.int(1, 2);
            strings.int(2, 8);
            strings.bytes(8, b"names");
            strings.bytes(6, b"cat");
            strings.bytes(6, b"dog");
            g.message(5, strings);
            g.message(5, tensor("u", &[2], 12, &[1, 0, 0, 0, 2, 0, 0, 0]));
            let mut annotated = tensor("a", &[1], 1, &[0; 4]);
            annotated.bytes(12, b"a doc string");
            annotated.message(16, text(1, "key"));
            g.message(5, annotated);
        },
        |_| {},
    ));
}

#[test]
fn everything_that_is_not_understood_survives() {
    check_survives(with(
        |g| {
            g.bytes(2, b"main");
            g.bytes(10, b"doc");
            g.message(14, text(1, "x"));
            g.message(16, text(1, "key"));
            g.bytes(77, b"a field of a later version");
            let mut sparse = Rope::default();
            sparse.message(1, tensor("s", &[1], 1, &[0; 4]));
            sparse.message(2, tensor("", &[1], 7, &[0; 8]));
            sparse.int(3, 8);
            g.message(15, sparse);
        },
        |m| {
            m.bytes(2, b"a tool");
            m.bytes(3, b"1.0");
            m.bytes(4, b"domain");
            m.int(5, 3);
            m.bytes(6, b"doc");
            let mut opset = text(1, "");
            opset.int(2, 17);
            m.message(8, opset);
            let mut entry = text(1, "key");
            entry.bytes(2, b"value");
            m.message(14, entry);
            m.message(20, text(1, "training"));
            let mut function = text(1, "f");
            function.bytes(4, b"input");
            m.message(25, function);
            m.message(26, text(1, "device"));
            m.int(99, 5);
        },
    ));
}

#[test]
fn value_infos_keep_what_they_say_besides_type_and_shape() {
    let mut dim = text(2, "batch");
    dim.bytes(3, b"DATA_BATCH");
    let mut shape = Rope::default();
    shape.message(1, dim);
    let mut kind = Rope::default();
    kind.int(1, 1);
    kind.message(2, shape);
    let mut ty = Rope::default();
    ty.message(1, kind);
    let mut sequence = Rope::default();
    sequence.message(4, Rope::default());
    let mut info = text(1, "x");
    info.message(2, ty);
    info.bytes(3, b"doc");
    let mut other = text(1, "z");
    other.message(2, sequence);
    check_survives({
        let mut g = Rope::default();
        g.message(1, node("Relu", &["x"], &["y"]));
        g.message(1, node("SequenceConstruct", &["x"], &["z"]));
        g.message(11, info);
        g.message(12, value_info("y"));
        g.message(13, other);
        let mut m = Rope::default();
        m.int(1, 8);
        m.message(7, g);
        encoded(m)
    });
}

/// `If(x)` whose branch reads `name` and has a branch of its own that reads `w`.
fn branching(name: &str) -> Bytes {
    let attribute = |graph: Rope| {
        let mut a = text(1, "then_branch");
        a.message(6, graph);
        a.int(20, 5);
        a
    };
    let mut inner = Rope::default();
    inner.message(1, node("Add", &["inside", "w"], &["deep"]));
    inner.message(12, value_info("deep"));
    let mut nested = node("If", &["x"], &["out"]);
    nested.message(5, attribute(inner));
    let mut branch = Rope::default();
    branch.message(1, node("Neg", &[name], &["inside"]));
    branch.message(1, nested);
    branch.message(12, value_info("out"));
    let mut outer = node("If", &["x"], &["z"]);
    outer.message(5, attribute(branch));
    with(
        |g| {
            g.message(1, outer);
            g.message(5, tensor("w", &[1], 1, &[0; 4]));
        },
        |_| {},
    )
}

#[test]
fn subgraphs_capture_outer_values_also_from_below() {
    let mut model = read_ok(branching("y"));
    let (_, branch) = model.graph.nodes().find(|(_, n)| n.is("If")).unwrap();
    let mut names: Vec<&str> = branch
        .captures
        .iter()
        .map(|v| model.graph.value(*v).name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["w", "x", "y"]);
    let fresh = model.graph.add_value(crate::Value::named("inside"));
    assert_eq!(
        model.graph.value(fresh).name,
        "inside_1",
        "a subgraph's own names stay its own"
    );
    check_survives(branching("y"));
    let error = read(branching("nothing"), &ExternalData::None).unwrap_err();
    assert!(
        matches!(&error, OnnxError::Undefined { name, .. } if name == "nothing"),
        "{error}"
    );
}

#[test]
fn initializers_may_be_listed_as_inputs() {
    let bytes = with(
        |g| {
            g.message(11, value_info("w"));
            g.message(5, tensor("w", &[1], 1, &[0; 4]));
        },
        |_| {},
    );
    let model = read_ok(bytes.clone());
    assert_eq!((model.graph.inputs.len(), model.graph.true_inputs().count()), (2, 1));
    let again = read_ok(write(model).unwrap().into());
    assert_eq!(again.graph.inputs.len(), 2);
}

#[test]
fn attributes_of_every_kind() {
    let mut attributes = Vec::new();
    let mut add = |name: &str, kind: i64, fill: &dyn Fn(&mut Rope)| {
        let mut a = text(1, name);
        fill(&mut a);
        if kind > 0 {
            a.int(20, kind);
        }
        attributes.push(a);
    };
    add("float", 1, &|a| a.float(2, 0.5));
    add("int", 2, &|a| a.int(3, -4));
    add("zero", 2, &|_| {});
    add("string", 3, &|a| a.bytes(4, b"SAME_UPPER"));
    add("tensor", 4, &|a| a.message(5, tensor("inner name", &[1], 1, &[0; 4])));
    add("floats", 6, &|a| a.bytes(7, &[0, 0, 128, 63]));
    add("ints", 7, &|a| a.bytes(8, &[1, 2]));
    add("strings", 8, &|a| a.bytes(9, b"a"));
    add("untyped", 0, &|a| a.int(8, 9));
    add("reference", 2, &|a| a.bytes(21, b"outer"));
    add("documented", 2, &|a| {
        a.int(3, 1);
        a.bytes(13, b"doc");
    });
    let mut relu = node("Custom", &["x"], &["z"]);
    attributes.into_iter().for_each(|a| relu.message(5, a));
    relu.bytes(6, b"doc");
    let model = read_ok(with(|g| g.message(1, relu), |_| {}));
    let again = read_ok(write(model.clone()).unwrap().into());
    let custom = |m: &Model| {
        m.graph
            .nodes()
            .find(|(_, n)| n.is("Custom"))
            .map(|(_, n)| n.clone())
            .unwrap()
    };
    let node = custom(&model);
    assert_eq!(node, custom(&again));
    let is = |name: &str, value: &AttributeValue| assert_eq!(node.attribute(name), Some(value), "{name}");
    is("float", &AttributeValue::Float(0.5));
    is("int", &AttributeValue::Int(-4));
    is("zero", &AttributeValue::Int(0));
    is("string", &AttributeValue::String("SAME_UPPER".into()));
    is("floats", &AttributeValue::Floats(vec![1.0]));
    is("ints", &AttributeValue::Ints(vec![1, 2]));
    is("strings", &AttributeValue::Strings(vec!["a".into()]));
    is("untyped", &AttributeValue::Ints(vec![9]));
    assert!(matches!(node.attribute("reference"), Some(AttributeValue::Opaque(_))));
    assert!(matches!(node.attribute("tensor"), Some(AttributeValue::Tensor(_))));
}

#[test]
fn tensors_share_the_files_bytes() {
    let bytes = with(|g| g.message(5, tensor("w", &[2500], 1, &[0; 10_000])), |_| {});
    let model = read_ok(bytes.clone());
    let w = model.graph.constant(model.graph.find("w").unwrap()).unwrap();
    let range = bytes.as_ptr_range();
    assert!(range.contains(&w.data().as_ptr()), "no copy of a large tensor");
}

#[test]
fn two_gibibytes_are_the_limit() {
    let mut model = read_ok(with(|_| {}, |_| {}));
    let big = Bytes::from(vec![0u8; 1 << 28]);
    for i in 0..8 {
        let tensor = Tensor::new(DType::F32, vec![1 << 26], big.clone()).unwrap();
        model.graph.add_constant(format!("w{i}"), tensor);
    }
    assert!(matches!(write(model), Err(OnnxError::TooLarge { .. })));
}
