//! The house holds. Between crates Cargo keeps the arrows; here are those within the root package and within the engine,
//! which libraries are used where, that files and functions stay short, and that every module says what it owns.
#![allow(clippy::unwrap_used)]

mod codes;
mod source;

use source::SourceFile;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the root package and the rooms that each may import, besides itself. What is not here is not allowed.
const ROOMS: &[(&str, &[&str])] = &[
    ("", &["cli"]),
    ("access", &[]),
    ("allocator", &[]),
    ("assembly", &[]),
    ("decide", &[]),
    ("registry", &[]),
    ("store", &[]),
    ("publish", &["store"]),
    ("pipeline", &["registry", "publish"]),
    ("doctor", &["registry", "publish"]),
    ("wire", &["access", "registry", "assembly", "publish", "doctor"]),
    ("http", &["registry", "publish"]),
    ("systemd", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("shutdown", &["registry", "publish", "pipeline", "wire"]),
    (
        "daemon",
        &[
            "access",
            "assembly",
            "decide",
            "doctor",
            "registry",
            "store",
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
            "access",
            "allocator",
            "decide",
            "store",
            "publish",
            "pipeline",
            "config",
            "telemetry",
            "shutdown",
            "daemon",
        ],
    ),
];

/// Layers of the engine: a module imports those before it and none behind it.
const LAYERS: &[&str] = &[
    "scores",
    "criterion",
    "outputs",
    "tridiagonal",
    "work_counter",
    "device",
    "spectrum",
    "network",
    "probes",
    "streaming",
    "landscape",
    "weights",
    "backend",
    "perturbation",
    "scope",
    "measure",
    "footprint",
    "plan",
    "remarks",
    "model",
    "task",
    "resident",
    "placement",
    "validate",
    "engine",
    "model_check",
    "session",
    "gradients",
    "readings",
    "bench",
];

/// Layers of `publish`: a module imports those before it and none behind it.
const PUBLISH: &[&str] = &[
    "lock",
    "log",
    "run_projection",
    "count",
    "decision_store",
    "run_stream",
    "watcher",
    "policy_thread",
    "event_bus",
    "overview",
    "decisions",
];

/// Rooms that know which store there is; all others know the trait alone.
const OF_SQLITE: [&str; 2] = ["daemon", "cli"];

/// Crates that only the store in SQLite uses.
const IN_SQLITE: [&str; 3] = ["rusqlite", "parquet", "csv"];

/// Crates, and the rooms of the root package and other crates that may use them.
const CRATES: &[(&str, &[&str])] = &[
    ("tonic", &["wire", "clino-domain", "clino-proto", "clino-client"]),
    ("prost", &["wire", "clino-proto"]),
    (
        "tokio",
        &[
            "access",
            "cli",
            "daemon",
            "http",
            "pipeline",
            "publish",
            "registry",
            "shutdown",
            "store",
            "telemetry",
            "wire",
            "clino-client",
        ],
    ),
    ("tokio_rustls", &["wire", "cli"]),
    ("x509_parser", &["wire"]),
    ("rayon", &["wire", "clino-engine", "clino-graph"]),
    ("clino_graph", &["clino-engine"]),
    ("toml", &["access", "cli"]),
    ("subtle", &["access"]),
    ("libc", &["allocator"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("prometheus_client", &["http"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("sd_notify", &["systemd"]),
    ("figment", &["config"]),
    ("clap", &["cli", "config"]),
    ("rusqlite", &["store"]),
    ("parquet", &["store"]),
    ("csv", &["store"]),
    ("clino_proto", &["wire", "clino-client"]),
    ("clino_client", &["cli", "config", "daemon"]),
    ("clino_engine", &["pipeline", "daemon", "cli"]),
];

/// Tuples that are taken apart in a signature, and bindings that are packed into one line: no more than there are. The
/// number only goes down.
const MOST_TUPLES: usize = 12;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(folder: &str) -> Vec<SourceFile> {
    let folder = root().join(folder);
    let mut paths = Vec::new();
    visit(&folder, &mut paths);
    assert!(!paths.is_empty(), "{}", folder.display());
    paths.iter().map(|path| SourceFile::read(&folder, path)).collect()
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

/// All sources, each with the name of its crate.
fn all() -> Vec<(&'static str, SourceFile)> {
    let crates = [
        ("clino", "src"),
        ("clino-domain", "crates/domain/src"),
        ("clino-engine", "crates/engine/src"),
        ("clino-graph", "crates/graph/src"),
        ("clino-proto", "crates/proto/src"),
        ("clino-client", "crates/client/src"),
    ];
    crates
        .into_iter()
        .flat_map(|(name, folder)| read(folder).into_iter().map(move |source| (name, source)))
        .collect()
}

/// Rooms of its own crate that a source imports.
fn imports(source: &SourceFile, tests: bool) -> BTreeSet<&str> {
    let rooms = source.uses.iter().filter(|found| tests || !found.test);
    let rooms = rooms.filter(|found| ["crate", "clino"].contains(&found.path[0].as_str()));
    let rooms = rooms.filter_map(|found| found.path.get(1)).map(String::as_str);
    // Only modules: `crate::Engine` is what the root hands on.
    rooms.filter(|room| room.starts_with(|c: char| c.is_lowercase()) && *room != source.room()).collect()
}

#[test]
fn rooms_of_the_root_package_import_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    for source in read("src") {
        let rooms = allowed.get(source.room());
        let rooms =
            rooms.unwrap_or_else(|| panic!("{} is a room that the table does not know", source.room()));
        for import in imports(&source, true) {
            assert!(rooms.contains(&import), "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn the_table_of_rooms_has_no_circle() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < allowed.len() {
        let free = |(room, imports): &(&&str, &&[&str])| {
            !done.contains(**room) && imports.iter().all(|import| done.contains(import))
        };
        let next: Vec<&str> = allowed.iter().filter(free).map(|(room, _)| *room).collect();
        assert!(!next.is_empty(), "a circle among those that are not in {done:?}");
        done.extend(next);
    }
}

/// What of a module of the engine goes against the layers.
fn upward(source: &SourceFile) -> Vec<String> {
    let place = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let Some(own) = place(source.room()) else {
        return vec![format!("{} is a layer that the table does not know", source.path.display())];
    };
    let imports =
        imports(source, false).into_iter().filter(|import| place(import).is_none_or(|other| other >= own));
    imports.map(|import| format!("{} imports {import}", source.path.display())).collect()
}

/// Modules of `publish` that a source there imports, outside its tests.
fn within_publish(source: &SourceFile) -> BTreeSet<&str> {
    let modules = source.uses.iter().filter(|found| !found.test);
    let modules = modules.filter(|found| ["crate", "publish"].iter().eq(found.path.iter().take(2)));
    let modules = modules.filter_map(|found| found.path.get(2)).map(String::as_str);
    modules.filter(|module| module.starts_with(|c: char| c.is_lowercase())).collect()
}

/// A stream knows neither the bus nor a watcher, and the store none of the three: once they were a circle.
#[test]
fn layers_of_publish_import_downward() {
    let place = |module: &str| {
        let place = PUBLISH.iter().position(|layer| *layer == module);
        place.unwrap_or_else(|| panic!("{module} is a layer of publish that the table does not know"))
    };
    for source in read("src").iter().filter(|source| source.room() == "publish" && !source.is_test()) {
        let Some(own) = source.module.get(1) else { continue };
        for import in within_publish(source).into_iter().filter(|import| import != own) {
            assert!(place(import) < place(own), "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn few_know_which_store_there_is() {
    for source in read("src").iter().filter(|source| !source.is_test()) {
        let room = source.room();
        let own = ["store", "sqlite"].iter().eq(source.module.iter().take(2));
        for found in source.uses.iter().filter(|found| !found.test) {
            let shown = source.path.display();
            let sqlite = ["crate", "store", "sqlite"].iter().eq(found.path.iter().take(3));
            assert!(!sqlite || own || OF_SQLITE.contains(&room), "{shown} knows the store in SQLite");
            let library = IN_SQLITE.contains(&found.path[0].as_str());
            assert!(!library || own, "{shown} uses {}", found.path[0]);
        }
    }
}

#[test]
fn layers_of_the_engine_import_downward() {
    let sources = read("crates/engine/src");
    let product = sources.iter().filter(|source| !source.is_test() && !source.module.is_empty());
    let found: Vec<String> = product.flat_map(upward).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Imports below a module of tests and inside of one were not seen once: the file was cut there.
#[test]
fn an_import_is_found_wherever_it_stands() {
    let planted =
        "mod inner {\n    fn far() { let _ = crate::daemon::run; println!(\"{}\", crate::wire::NAME); }\n}\n";
    let blind = ["src/pipeline/mod.rs", "src/registry/mod.rs", "src/cli/files.rs"];
    for (folder, file) in blind
        .map(|file| ("src", file))
        .into_iter()
        .chain([("crates/engine/src", "crates/engine/src/spectrum.rs")])
    {
        let before = SourceFile::read(&root().join(folder), &root().join(file));
        assert!(before.text.contains("#[cfg(test)]"), "{file}");
        let text = format!("{}\n{planted}", before.text);
        let after = SourceFile::parse(&before.path, before.module.clone(), text);
        let new: BTreeSet<&str> =
            imports(&after, false).difference(&imports(&before, false)).copied().collect();
        let expected = ["daemon", "wire"].into_iter().filter(|room| !imports(&before, false).contains(room));
        assert_eq!(new, expected.collect(), "{file}");
    }
    let below =
        format!("#[cfg(test)]\nmod tests {{ use crate::http::X; }}\nuse super::super::access::Y;\n{planted}");
    let source = SourceFile::parse(Path::new("a.rs"), vec!["pipeline".into(), "a".into()], below);
    assert_eq!(imports(&source, false), ["access", "daemon", "wire"].into());
    assert_eq!(imports(&source, true), ["access", "daemon", "http", "wire"].into());
}

#[test]
fn crates_stay_in_their_rooms() {
    for (name, source) in all() {
        let room = if name == "clino" { source.room() } else { name };
        for (used, rooms) in CRATES {
            let is_used = |found: &source::Use| {
                !found.test
                    && (found.path[0] == *used
                        || found.path[0].strip_prefix(used).is_some_and(|end| {
                            ["_types", "_health", "_reflection", "_stream", "_util"].contains(&end)
                        }))
            };
            let bad = source.uses.iter().any(is_used) && !source.is_test() && !rooms.contains(&room);
            assert!(!bad, "{} uses {used}", source.path.display());
        }
    }
}

#[test]
fn some_crates_are_pure() {
    for (name, source) in all().iter().filter(|(name, source)| {
        ["clino-domain", "clino-engine", "clino-graph"].contains(name) && !source.is_test()
    }) {
        for used in source.uses.iter().filter(|found| !found.test) {
            let path = used.path.join("::");
            let worlds =
                ["std::time::Instant", "std::time::SystemTime", "std::env", "std::fs", "std::net", "tracing"];
            let world = worlds.iter().any(|world| path.starts_with(world));
            assert!(!world, "{name}: {} uses {path}", source.path.display());
        }
        for word in ["println!", "eprintln!"] {
            assert!(!source.text.contains(word), "{} uses {word}", source.path.display());
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for (_, source) in all().iter().filter(|(_, source)| !source.is_test()) {
        let head: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let shown = source.path.display();
        assert!(!head.is_empty(), "{shown} opens with no docs");
        // A measure opens with its formula and cost instead; its room says what it may touch.
        let owns = head.contains("Owns: ") && head.contains("May not touch: ");
        assert!(
            owns || head.contains("Cost: ") || source.module.len() < 2,
            "{shown} does not say what it owns"
        );
    }
}

#[test]
fn nine_files_in_ten_are_short() {
    let all = all();
    let lengths = all.iter().map(|(_, source)| (source.text.lines().count(), &source.path));
    let long: Vec<_> = lengths.filter(|(lines, _)| *lines > 450).collect();
    assert!(long.len() * 10 <= all.len(), "too many long files: {long:?}");
}

#[test]
fn nine_functions_in_ten_are_short() {
    let all = all();
    let functions: Vec<_> = all
        .iter()
        .flat_map(|(_, source)| source.functions.iter().map(move |f| (f.lines, f.line, &source.path)))
        .collect();
    let long: Vec<_> = functions.iter().filter(|(lines, ..)| *lines > 40).collect();
    assert!(functions.len() > 3000, "found only {} functions", functions.len());
    assert!(long.len() * 10 <= functions.len(), "too many long functions: {long:?}");
}

/// The rule of five arguments is kept by structs with names, not by tuples.
#[test]
fn few_tuples_stand_for_arguments() {
    let all = all();
    let tuples: usize =
        all.iter().flat_map(|(_, source)| &source.functions).map(|function| function.tuples).sum();
    let packed: usize = all.iter().map(|(_, source)| source.packed.len()).sum();
    assert!(tuples + packed <= MOST_TUPLES, "{tuples} tuples in signatures, {packed} packed bindings");
}

/// Whether a build has an optional part is known where modules are declared, and where what is missing says so.
#[test]
fn features_are_asked_for_in_few_files() {
    let asking =
        |source: &SourceFile| source.text.contains("cfg(feature") || source.text.contains("cfg(not(feature");
    let found: BTreeSet<PathBuf> = all()
        .into_iter()
        .filter(|(_, source)| asking(source))
        .map(|(_, source)| source.path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    let expected = [
        "crates/domain/src/lib.rs",
        "crates/engine/src/backend/mod.rs",
        "crates/engine/src/device/mod.rs",
        "crates/engine/src/placement/mod.rs",
        "src/store/sqlite/mod.rs",
        "src/telemetry/mod.rs",
    ];
    assert_eq!(found, expected.map(PathBuf::from).into());
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    for (_, source) in all() {
        for word in ["/work/", "/home/", "/root/"] {
            assert!(!source.text.contains(word), "{} holds {word}", source.path.display());
        }
    }
}
