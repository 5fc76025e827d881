//! The page of operators, the protocol and the crate name the same operators and kinds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use clino_domain::graph::{
    BinaryKind, CompareKind, GatherMode, Operator, PadMode, PoolKind, RecurrentKind, ReduceKind, UnaryKind,
    UpsampleKind,
};
use std::collections::BTreeSet;

fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read_to_string(format!("{root}{path}")).expect("a file of the repository")
}

/// Fields of the oneof of a node.
fn of_protocol() -> BTreeSet<String> {
    let proto = read("proto/clino/v1/graph.proto");
    let from = proto.find("oneof operator {").expect("the operators");
    let block = &proto[from..from + proto[from..].find('}').expect("its end")];
    let field = |line: &str| Some(line.split_once(" = ")?.0.split_whitespace().last()?.to_owned());
    block.lines().filter_map(field).collect()
}

fn of_page(page: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("### `")?.strip_suffix('`')?.to_owned());
    page.lines().filter_map(name).collect()
}

#[test]
fn all_name_the_same_operators() {
    let page = read("docs/graph.md");
    let names: BTreeSet<String> = Operator::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, of_protocol());
    assert_eq!(names, of_page(&page));
}

#[test]
fn the_page_names_every_kind() {
    let page = read("docs/graph.md");
    let section = |name: &str| {
        let from = page.find(&format!("### `{name}`")).expect("a section");
        let rest = &page[from + 3..];
        rest[..rest.find("\n#").unwrap_or(rest.len())].to_owned()
    };
    let check = |name: &str, kinds: Vec<&'static str>| {
        let section = section(name);
        let words: BTreeSet<&str> = section.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for kind in kinds {
            assert!(words.contains(kind), "{name} {kind}");
        }
    };
    check("unary", UnaryKind::ALL.iter().map(|kind| kind.name()).collect());
    check("binary", BinaryKind::ALL.iter().map(|kind| kind.name()).collect());
    check("compare", CompareKind::ALL.iter().map(|kind| kind.name()).collect());
    check("reduce", ReduceKind::ALL.iter().map(|kind| kind.name()).collect());
    check("pool", PoolKind::ALL.iter().map(|kind| kind.name()).collect());
    check("upsample", UpsampleKind::ALL.iter().map(|kind| kind.name()).collect());
    check("recurrent", RecurrentKind::ALL.iter().map(|kind| kind.name()).collect());
    check("gather", GatherMode::ALL.iter().map(|kind| kind.name()).collect());
    check("pad", PadMode::ALL.iter().map(|kind| kind.name()).collect());
}
