//! Faults of nodes.
//!
//! Owns: how a fault names a node, its operator and where it comes from. May not touch: what is wrong.

use crate::wrong::{Field, Wrong};
use clino_domain::Fault;
use clino_domain::graph::Node;
use clino_domain::text::quoted;

/// A fault of node `i`.
pub fn of_node(i: usize, node: &Node, wrong: Wrong) -> Fault {
    let name = node.operator.name();
    let field = match wrong.field {
        Field::Attribute("") => format!("model.graph.nodes[{i}].{name}"),
        Field::Attribute(attribute) => format!("model.graph.nodes[{i}].{name}.{attribute}"),
        Field::Operand(place) => format!("model.graph.nodes[{i}].operands[{place}]"),
    };
    let origin = match node.origin.is_empty() {
        true => String::new(),
        false => format!(", in {}", quoted(&node.origin)),
    };
    Fault::invalid(field, format!("{} ({name}{origin})", wrong.description))
}
