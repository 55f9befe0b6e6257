//! Editing, sweeping and verifying small graphs.

use super::verify::{VerifyError, verify};
use super::*;

/// `x -> a = Conv(x, w) -> b = Identity(a) -> y = Relu(b)`, and `y` the output.
struct Small {
    graph: Graph,
    x: ValueId,
    w: ValueId,
    a: ValueId,
    b: ValueId,
    y: ValueId,
    nodes: [NodeId; 3],
}

fn small() -> Small {
    let mut graph = Graph::default();
    graph.name = "small".into();
    let x = graph.add_value(Value {
        dtype: Some(DType::F32),
        shape: Some(vec![Dim::Symbol("n".into()), Dim::Fixed(1), Dim::Symbol(String::new())]),
        ..Value::named("x")
    });
    graph.inputs.push(x);
    let w = graph.add_constant("w", Tensor::from_f32(&[1, 1, 1], &[2.0]));
    let [a, b, y] = ["a", "b", "y"].map(|n| graph.add_value(Value::named(n)));
    let conv = Node::new("Conv", vec![x, w], vec![a]).with("strides", AttributeValue::Ints(vec![1]));
    let nodes = [
        graph.push_node(conv),
        graph.push_node(Node::new("Identity", vec![a], vec![b])),
        graph.push_node(Node::new("Relu", vec![b], vec![y])),
    ];
    graph.outputs.push(y);
    Small {
        graph,
        x,
        w,
        a,
        b,
        y,
        nodes,
    }
}

/// Applies the patch and compares the graph's lines.
fn check(mut graph: Graph, patch: Patch, expected: &[&str]) -> Graph {
    patch.apply(&mut graph);
    assert_eq!(verify(&graph), Ok(()), "{graph}");
    let text = graph.to_string();
    let lines: Vec<&str> = text.lines().filter(|l| l.contains(" = ")).map(str::trim).collect();
    assert_eq!(lines, expected);
    graph
}

fn without(node: NodeId, replace: (ValueId, ValueId)) -> Patch {
    Patch {
        remove: vec![node],
        replace: vec![replace],
        ..Patch::default()
    }
}

#[test]
fn a_graph_prints_and_counts() {
    let s = small();
    insta::assert_snapshot!(s.graph, @r"
    graph small (
      x: f32[n,1,?]
    ) {
      a = Conv(x, w: f32[1,1,1]) {strides=[1]}
      b = Identity(a)
      y = Relu(b)
    } -> (
      y
    )
    ");
    assert_eq!(s.graph.producer(s.a), Some(s.nodes[0]));
    assert_eq!(s.graph.users(s.a).collect::<Vec<_>>(), [s.nodes[1]]);
    assert_eq!((s.graph.use_count(s.y), s.graph.only_user(s.y)), (1, None));
    assert_eq!(s.graph.only_user(s.a), Some(s.nodes[1]));
    assert_eq!((s.graph.node_count(), s.graph.parameter_count()), (3, 1));
    assert_eq!(
        s.graph
            .op_counts()
            .into_iter()
            .map(|(op, n)| format!("{op} {n}"))
            .collect::<Vec<_>>()
            .join(", "),
        "Conv 1, Identity 1, Relu 1"
    );
}

#[test]
fn readers_of_a_replaced_value_read_the_new_one() {
    let s = small();
    check(
        s.graph,
        without(s.nodes[1], (s.b, s.a)),
        &["a = Conv(x, w: f32[1,1,1]) {strides=[1]}", "y = Relu(a)"],
    );
}

#[test]
fn a_graph_output_keeps_its_name() {
    let s = small();
    let graph = check(
        s.graph,
        without(s.nodes[2], (s.y, s.b)),
        &["a = Conv(x, w: f32[1,1,1]) {strides=[1]}", "y = Identity(a)"],
    );
    let identity = graph.producer(s.y).unwrap();
    check(
        graph,
        without(identity, (s.y, s.a)),
        &["y = Conv(x, w: f32[1,1,1]) {strides=[1]}"],
    );
}

#[test]
fn an_output_that_would_be_an_input_gets_an_identity() {
    let s = small();
    let patch = Patch {
        remove: s.nodes.to_vec(),
        replace: vec![(s.y, s.x)],
        ..Patch::default()
    };
    let graph = check(s.graph, patch, &["y = Identity(x)"]);
    assert!(
        graph.constant(s.w).is_none(),
        "a constant that no node reads is dropped"
    );
}

#[test]
fn a_captured_value_keeps_its_name() {
    let mut s = small();
    let z = s.graph.add_value(Value::named("z"));
    let mut branch = Node::new("If", vec![s.a], vec![z]);
    branch.captures = vec![s.b];
    s.graph.push_node(branch);
    s.graph.outputs.push(z);
    assert!(s.graph.is_captured(s.b));
    check(
        s.graph,
        without(s.nodes[1], (s.b, s.a)),
        &[
            "b = Conv(x, w: f32[1,1,1]) {strides=[1]}",
            "y = Relu(b)",
            "z = If(b) captures b",
        ],
    );
}

#[test]
fn new_nodes_go_where_a_removed_one_stood() {
    let mut s = small();
    let [c, d] = ["c", "d"].map(|n| s.graph.add_value(Value::named(n)));
    let patch = Patch {
        remove: vec![s.nodes[1]],
        insert: vec![
            (s.nodes[1], Node::new("Neg", vec![s.a], vec![c])),
            (s.nodes[1], Node::new("Neg", vec![c], vec![d])),
        ],
        replace: vec![(s.b, d)],
    };
    check(
        s.graph,
        patch,
        &[
            "a = Conv(x, w: f32[1,1,1]) {strides=[1]}",
            "c = Neg(a)",
            "d = Neg(c)",
            "y = Relu(d)",
        ],
    );
}

#[test]
fn sweeping_takes_what_no_output_needs() {
    let mut s = small();
    let unused = s.graph.add_constant("unused", Tensor::from_f32(&[1], &[1.0]));
    s.graph.inputs.push(unused);
    let dead = s.graph.add_value(Value::named("dead"));
    s.graph.push_node(Node::new("Mul", vec![s.a, unused], vec![dead]));
    assert_eq!(s.graph.true_inputs().collect::<Vec<_>>(), [s.x]);
    assert_eq!(s.graph.sweep(), Swept { nodes: 1, constants: 1 });
    assert_eq!(&s.graph.inputs[..], [s.x]);
    assert_eq!(s.graph.sweep(), Swept::default());
    assert_eq!(verify(&s.graph), Ok(()));
}

#[test]
fn editing_a_node_in_place_keeps_the_index() {
    let mut s = small();
    s.graph.node_mut(s.nodes[2]).unwrap().inputs[0] = Some(s.a);
    assert_eq!((s.graph.use_count(s.a), s.graph.use_count(s.b)), (2, 0));
    assert_eq!(verify(&s.graph), Ok(()));
}

#[test]
fn names_are_never_given_twice() {
    let mut s = small();
    s.graph.reserve_name("a_1");
    let [first, second, nameless] = ["a", "a", ""].map(|n| s.graph.add_value(Value::named(n)));
    let names = [first, second, nameless].map(|v| s.graph.value(v).name.clone());
    assert_eq!(names, ["a_2", "a_3", "value_1"]);
}

#[test]
fn broken_graphs_are_told() {
    let broken = |change: fn(&mut Small)| {
        let mut s = small();
        change(&mut s);
        verify(&s.graph).unwrap_err()
    };
    let is = |error: VerifyError, expected: &str| assert_eq!(error.to_string(), expected);
    is(
        broken(|s| {
            s.graph.push_node(Node::new("Add", vec![ValueId(77)], vec![]));
        }),
        "node \"\" (Add) names value number 77, and the graph has only 5 values",
    );
    is(
        broken(|s| {
            s.graph.push_node(Node::new("Add", vec![s.x], vec![s.a]));
        }),
        "value \"a\" comes from node \"\" (Conv) and from node \"\" (Add); it may come from one place only",
    );
    is(
        broken(|s| {
            s.graph
                .insert_node(Some(s.nodes[0]), Node::new("Add", vec![s.b], vec![]));
        }),
        "node \"\" (Add) reads \"b\", which no input, constant or earlier node provides",
    );
    is(
        broken(|s| {
            s.graph.remove_node(s.nodes[2]);
        }),
        "the list of graph outputs reads \"y\", which no input, constant or earlier node provides",
    );
    is(
        broken(|s| s.graph.value_mut(s.a).name = "b".into()),
        "the name \"b\" belongs to no value or to more than one; names must be unique and not empty",
    );
    is(
        broken(|s| s.graph.value_mut(s.w).dtype = None),
        "constant \"w\" is recorded with another type or shape than its tensor has",
    );
    is(
        broken(|s| s.graph.set_constant(s.a, Tensor::from_f32(&[], &[0.0]))),
        "value \"a\" comes from the constants and from node \"\" (Conv); it may come from one place only",
    );
    is(
        broken(|s| s.graph.inputs.push(s.x)),
        "value \"x\" comes from the graph inputs and from the graph inputs; it may come from one place only",
    );
}
