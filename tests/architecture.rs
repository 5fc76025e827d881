//! The house holds: imports go one way, each crate stays in its rooms, files and functions stay short, every module
//! says what it owns.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import, besides itself. What is not here is not allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("access", &["domain"]),
    ("assembly", &["domain"]),
    ("engine", &["domain"]),
    ("decide", &["domain"]),
    ("registry", &["domain"]),
    ("publish", &["domain"]),
    ("pipeline", &["domain", "registry", "engine", "publish"]),
    ("wire", &["domain", "access", "registry", "assembly", "publish"]),
    ("http", &["domain", "registry", "publish"]),
    ("systemd", &["domain"]),
    ("client", &["domain", "wire", "config"]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("shutdown", &["domain", "registry", "publish", "pipeline", "wire"]),
    (
        "daemon",
        &[
            "domain",
            "access",
            "assembly",
            "decide",
            "engine",
            "registry",
            "publish",
            "pipeline",
            "wire",
            "http",
            "systemd",
            "config",
            "telemetry",
            "shutdown",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "access",
            "decide",
            "engine",
            "publish",
            "pipeline",
            "client",
            "config",
            "telemetry",
            "shutdown",
            "daemon",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Crates that only some rooms may use.
const CRATES: &[(&str, &[&str])] = &[
    ("tonic", &["wire", "client"]),
    ("prost", &["wire", "client"]),
    ("tokio_rustls", &["wire", "cli"]),
    ("x509_parser", &["wire"]),
    ("toml", &["access", "cli"]),
    ("subtle", &["access"]),
    ("gemm", &["engine"]),
    ("rayon", &["engine"]),
    ("candle_core", &["engine"]),
    ("cudarc", &["engine"]),
    ("axum", &["http"]),
    ("prometheus_client", &["http"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("sd_notify", &["systemd"]),
    ("figment", &["config"]),
    ("clap", &["cli", "config"]),
    ("rusqlite", &["publish"]),
    ("parquet", &["publish"]),
    ("csv", &["publish"]),
];

/// Rooms in which nothing waits.
const SYNCHRONOUS: &[&str] = &["domain", "assembly", "engine", "decide"];

struct Source {
    path: PathBuf,
    room: String,
    /// Without comments and without the tests at the end of the file.
    code: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        let stem = self.path.file_stem().unwrap().to_str().unwrap();
        stem == "tests" || stem.ends_with("_tests") || self.path.ends_with("engine/quadratic.rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    visit(&root, &mut found);
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        let room = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let product = text.split("\n#[cfg(test)]").next().unwrap();
        let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        Source { path, room, code, text }
    };
    found.into_iter().map(source).collect()
}

fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => visit(&path, found),
            false if path.extension().is_some_and(|end| end == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The words that follow `prefix` in the code.
fn after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let word =
        |rest: &'a str| &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
    code.split(prefix).skip(1).map(word).collect()
}

/// Rooms that a source imports, also through `use crate::{a, b}`.
fn imports(source: &Source) -> BTreeSet<String> {
    let mut rooms: BTreeSet<String> = after(&source.code, "crate::").into_iter().map(str::to_owned).collect();
    if source.room == "main" {
        rooms.extend(after(&source.code, "clino::").into_iter().map(str::to_owned));
    }
    assert!(!source.code.contains("crate::{"), "{}: write one `use crate::` a room", source.path.display());
    rooms.retain(|room| !room.is_empty() && *room != source.room);
    rooms
}

#[test]
fn imports_go_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for source in sources() {
        let rooms = allowed.get(source.room.as_str());
        let rooms = rooms.unwrap_or_else(|| panic!("{} is a room that the table does not know", source.room));
        for import in imports(&source) {
            assert!(rooms.contains(&import.as_str()), "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn the_table_has_no_cycle() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < allowed.len() {
        let next: Vec<&str> = allowed
            .iter()
            .filter(|(room, imports)| {
                !done.contains(*room) && imports.iter().all(|import| done.contains(import))
            })
            .map(|(room, _)| *room)
            .collect();
        assert!(!next.is_empty(), "a cycle among those that are not in {done:?}");
        done.extend(next);
    }
}

#[test]
fn crates_stay_in_their_rooms() {
    for source in sources() {
        for (name, rooms) in CRATES {
            let used = ["::", "_types::", "_health::", "_reflection::"].iter().any(|end| {
                let path = format!("{name}{end}");
                source.code.match_indices(&path).any(|(at, _)| {
                    !source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                })
            });
            assert!(!used || rooms.contains(&source.room.as_str()), "{} uses {name}", source.path.display());
        }
        let waits = source.code.contains("tokio::")
            || source.code.contains("async fn")
            || source.code.contains(".await");
        assert!(!waits || !SYNCHRONOUS.contains(&source.room.as_str()), "{} waits", source.path.display());
    }
}

#[test]
fn the_engine_knows_no_clock_environment_or_log() {
    for source in sources().iter().filter(|source| source.room == "engine" && !source.is_test()) {
        for word in ["std::time", "std::env", "std::fs", "std::net", "tracing::", "println!", "eprintln!"] {
            assert!(!source.code.contains(word), "{} uses {word}", source.path.display());
        }
    }
}

#[test]
fn generated_code_is_seen_by_the_edge_alone() {
    for source in sources().iter().filter(|source| source.code.contains("pb::")) {
        let room = source.room.as_str();
        assert!(["wire", "client"].contains(&room), "{} sees protobuf", source.path.display());
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for source in sources().iter().filter(|source| !source.is_test()) {
        let head: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let shown = source.path.display();
        assert!(!head.is_empty(), "{shown} opens with no docs");
        if !["main", "lib"].contains(&source.room.as_str()) {
            // A measure opens with its formula and cost instead; its room says what it may touch.
            let owns = head.contains("Owns: ") && head.contains("May not touch: ");
            assert!(owns || head.contains("Cost: "), "{shown} does not say what it owns");
        }
    }
}

#[test]
fn nine_files_in_ten_are_short() {
    let lengths: Vec<(usize, PathBuf)> =
        sources().into_iter().map(|source| (source.text.lines().count(), source.path)).collect();
    let long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > 450).collect();
    assert!(long.len() * 10 <= lengths.len(), "too many long files: {long:?}");
}

/// Lines of every function, by indentation: from `fn` to the brace that closes at the same depth.
fn functions(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let starts = [
            "fn ",
            "pub fn ",
            "pub(super) fn ",
            "pub(crate) fn ",
            "async fn ",
            "pub async fn ",
            "unsafe fn ",
        ];
        if !starts.iter().any(|start| body.starts_with(start)) {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - body.len()]);
        let length = if line.ends_with('}') {
            1
        } else {
            lines[at..]
                .iter()
                .position(|other| *other == close || other.ends_with(";") && *other == *line)
                .map_or(1, |n| n + 1)
        };
        found.push((length, format!("{}:{}", source.path.display(), at + 1)));
    }
    found
}

#[test]
fn nine_functions_in_ten_are_short() {
    let all: Vec<_> = sources().iter().flat_map(functions).collect();
    let long: Vec<_> = all.iter().filter(|(lines, _)| *lines > 40).collect();
    assert!(all.len() > 300, "found only {} functions", all.len());
    assert!(long.len() * 10 <= all.len(), "too many long functions: {long:?}");
}

/// Whether a build has GPUs is known in one place.
#[test]
fn features_are_asked_for_in_one_file() {
    let asking =
        |source: &&Source| source.text.contains("cfg(feature") || source.text.contains("cfg(not(feature");
    let all = sources();
    let found: Vec<_> = all.iter().filter(asking).map(|source| source.path.as_path()).collect();
    assert!(matches!(found[..], [one] if one.ends_with("engine/device/cuda/mod.rs")), "{found:?}");
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    for source in sources() {
        for word in ["/work/", "/home/", "/root/"] {
            assert!(!source.text.contains(word), "{} holds {word}", source.path.display());
        }
    }
}
