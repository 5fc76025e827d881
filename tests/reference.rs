//! The reference page is what the catalogue says today.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

fn clino(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_clino")).arg("measures").args(arguments).output().unwrap()
}

#[test]
fn the_reference_page_is_not_stale() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/measures.md")).unwrap();
    let now = String::from_utf8(clino(&["--format", "markdown"]).stdout).unwrap();
    assert!(page == now, "run: clino measures --format markdown > docs/measures.md");
}

#[test]
fn the_terminal_shows_the_same() {
    let text = String::from_utf8(clino(&[]).stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&clino(&["--format", "json"]).stdout).unwrap();
    for info in json.as_array().unwrap() {
        for key in ["name", "summary", "formula", "cost", "invariance", "source"] {
            assert!(text.contains(info[key].as_str().unwrap()), "{} of {}", key, info["name"]);
        }
        for parameter in info["parameters"].as_array().unwrap() {
            assert!(text.contains(parameter["summary"].as_str().unwrap()), "{parameter}");
        }
    }
    let one = String::from_utf8(clino(&["sam"]).stdout).unwrap();
    assert!(one.starts_with("sam\n") && !one.contains("asam"), "{one}");
    let output = clino(&["sam", "sham"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("found \"sham\" (did you mean sam?), expected some of loss"), "{told}");
}

#[test]
fn the_guide_names_only_what_there_is() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/choosing.md")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&clino(&["--format", "json"]).stdout).unwrap();
    let names: Vec<&str> =
        json.as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap()).collect();
    let table = guide.split("## By question").nth(1).unwrap().split("## By budget").next().unwrap();
    // The second column, where names stand in backticks.
    let cells = table.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(2));
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>());
    let names_of = quoted.map(|text| text.split(':').next().unwrap());
    let asked: Vec<&str> = names_of.filter(|name| *name != "rel_stderr").collect();
    asked.iter().for_each(|name| assert!(names.contains(name), "{name} is no measure"));
    // Every measure has its place, but those that others speak for.
    for name in names.iter().filter(|name| !["accuracy", "param_variance"].contains(name)) {
        assert!(asked.contains(name), "{name} is in no row");
    }
}
