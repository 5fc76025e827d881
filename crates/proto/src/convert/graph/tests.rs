use super::*;
use clino_domain::graph as domain;

/// The kinds of the domain stand in the order of their numbers.
#[test]
fn kinds_have_the_numbers_of_the_protocol() {
    fn check<K: Copy>(
        all: &[K],
        name: fn(K) -> &'static str,
        prefix: &str,
        pb: impl Fn(i32) -> Option<&'static str>,
    ) {
        for (i, kind) in all.iter().enumerate() {
            assert_eq!(pb(i as i32 + 1), Some(format!("{prefix}{}", name(*kind)).as_str()));
        }
        assert_eq!(pb(all.len() as i32 + 1), None, "{prefix}");
    }
    macro_rules! same {
        ($($domain:ident $prefix:literal $pb:path),+) => {
            $(check(domain::$domain::ALL, domain::$domain::name, $prefix, |n| {
                <$pb>::try_from(n).ok().map(|kind| kind.as_str_name())
            });)+
        };
    }
    same!(
        PadMode "MODE_" pb::pad::Mode, GatherMode "MODE_" pb::gather::Mode, UnaryKind "KIND_" pb::unary::Kind,
        BinaryKind "KIND_" pb::binary::Kind, CompareKind "KIND_" pb::compare::Kind,
        ReduceKind "KIND_" pb::reduce::Kind, PoolKind "KIND_" pb::pool::Kind,
        UpsampleKind "KIND_" pb::upsample::Kind, RecurrentKind "KIND_" pb::recurrent::Kind,
        ValueType "VALUE_TYPE_" pb::ValueType, TensorKind "KIND_" pb::graph_tensor::Kind
    );
}

fn tensor(name: &str, alias_of: &str) -> pb::GraphTensor {
    pb::GraphTensor {
        name: name.into(),
        kind: 1,
        shape: vec![2, 3],
        dtype: pb::Dtype::F32.into(),
        alias_of: alias_of.into(),
    }
}

fn node(operands: &[u32], operator: Option<pb::node::Operator>) -> pb::Node {
    pb::Node { operands: operands.to_vec(), results: 0, origin: "model.layer, file.py:3".into(), operator }
}

fn neg() -> Option<pb::node::Operator> {
    Some(pb::node::Operator::Unary(pb::Unary { kind: 1, parameters: Vec::new() }))
}

fn model(change: impl FnOnce(&mut pb::Graph)) -> pb::Model {
    let mut graph = pb::Graph {
        version: 1,
        tensors: vec![tensor("w", ""), tensor("v", "w")],
        nodes: vec![node(&[1], neg())],
        outputs: vec![pb::GraphOutput { name: "logits".into(), value: 3 }],
        ..pb::Graph::default()
    };
    change(&mut graph);
    pb::Model {
        kind: Some(pb::model::Kind::Graph(graph)),
        loss: Some(pb::LossSpec {
            kind: Some(pb::loss_spec::Kind::CrossEntropy(pb::CrossEntropy::default())),
            ..pb::LossSpec::default()
        }),
    }
}

fn fault(change: impl FnOnce(&mut pb::Graph)) -> Fault {
    model_from_pb(model(change)).expect_err("must be refused")
}

fn field(change: impl FnOnce(&mut pb::Graph)) -> String {
    fault(change).violations[0].field.clone()
}

#[test]
fn what_is_right_is_read() {
    let ModelKind::Graph(graph, loss) = model_from_pb(model(|_| {})).expect("a graph") else { panic!() };
    assert_eq!(
        (graph.values(), graph.parts().tensors[1].alias_of, loss.labels.as_str()),
        (3, Some(0), "labels")
    );
}

#[test]
fn references_go_backwards_only() {
    let cycle = fault(|graph| graph.nodes[0].operands = vec![3]);
    assert_eq!(cycle.violations[0].field, "model.graph.nodes[0].operands[0]");
    for word in ["found value 3", "expected 1 to 2", "model.layer, file.py:3"] {
        assert!(cycle.message.contains(word), "{cycle}");
    }
    assert_eq!(field(|graph| graph.nodes[0].operands = vec![u32::MAX]), "model.graph.nodes[0].operands[0]");
    assert_eq!(field(|graph| graph.nodes[0].operands = vec![0]), "model.graph.nodes[0].operands[0]");
    assert_eq!(field(|graph| graph.outputs[0].value = 4), "model.graph.outputs[0].value");
    assert_eq!(field(|graph| graph.tensors[0].alias_of = "v".into()), "model.graph.tensors[0].alias_of");
    assert_eq!(field(|graph| graph.tensors[1].alias_of = "v".into()), "model.graph.tensors[1].alias_of");
}

#[test]
fn operators_are_known_and_typed() {
    assert_eq!(field(|graph| graph.nodes[0].operator = None), "model.graph.nodes[0].operator");
    let unary = |kind, parameters| Some(pb::node::Operator::Unary(pb::Unary { kind, parameters }));
    let wrong = |kind, parameters: Vec<f64>| field(|graph| graph.nodes[0].operator = unary(kind, parameters));
    assert_eq!(wrong(0, vec![]), "model.graph.nodes[0].unary.kind");
    assert_eq!(wrong(99, vec![]), "model.graph.nodes[0].unary.kind");
    assert_eq!(wrong(-1, vec![]), "model.graph.nodes[0].unary.kind");
    assert_eq!(wrong(1, vec![1.0]), "model.graph.nodes[0].unary.parameters");
    assert_eq!(wrong(29, vec![f64::NAN; 3]), "model.graph.nodes[0].unary.parameters");
    let softmax = pb::node::Operator::Softmax(pb::Softmax { axis: 99, log: false });
    assert_eq!(field(|graph| graph.nodes[0].operator = Some(softmax)), "model.graph.nodes[0].softmax.axis");
    assert_eq!(field(|graph| graph.nodes[0].results = 2), "model.graph.nodes[0].results");
    assert_eq!(field(|graph| graph.nodes[0].operands = vec![1, 2]), "model.graph.nodes[0].operands");
}

#[test]
fn too_much_of_anything_is_refused() {
    assert_eq!(field(|graph| graph.nodes = vec![pb::Node::default(); 1_000_000]), "model.graph.nodes");
    let constant = pb::GraphConstant { dtype: pb::Dtype::F64.into(), shape: vec![], data: vec![0; 8].into() };
    assert_eq!(field(|graph| graph.constants = vec![constant; 1_000_000]), "model.graph.constants");
    let huge = pb::GraphConstant {
        dtype: pb::Dtype::F64.into(),
        shape: vec![1 << 18],
        data: vec![0; 1 << 21].into(),
    };
    assert_eq!(field(|graph| graph.constants = vec![huge]), "model.graph.constants[0].data");
    assert_eq!(field(|graph| graph.tensors[0].shape = vec![u64::MAX, 2]), "model.graph.tensors[0].shape");
    assert_eq!(field(|graph| graph.tensors[0].shape = vec![1; 17]), "model.graph.tensors[0].shape");
    assert_eq!(field(|graph| graph.nodes[0].operands = vec![1; 70_000]), "model.graph.nodes[0].operands");
    assert_eq!(field(|graph| graph.version = 2), "model.graph.version");
}
