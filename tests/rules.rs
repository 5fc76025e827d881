//! The page of rules is what the list says today, and histories are told again by `clino decide`.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn clino(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that ends before it has read everything closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const POLICY: &str = r#"{"policy":{"mode":"MODE","rules":[{"name":"successive_halving","on":"loss",
    "parameters":{"min_resource":1,"reduction_factor":2}}]}}"#;

#[test]
fn the_page_of_rules_is_not_stale() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md")).unwrap();
    let now = text(&clino(&["rules", "--format", "markdown"], ""));
    assert!(page == now, "run: clino rules --format markdown > docs/rules.md");
}

#[test]
fn the_terminal_shows_the_same() {
    let shown = text(&clino(&["rules"], ""));
    let json: serde_json::Value =
        serde_json::from_str(&text(&clino(&["rules", "--format", "json"], ""))).unwrap();
    for info in json.as_array().unwrap() {
        for key in ["name", "summary", "source"] {
            assert!(shown.contains(info[key].as_str().unwrap()), "{key} of {}", info["name"]);
        }
        for parameter in info["parameters"].as_array().unwrap() {
            assert!(shown.contains(parameter["summary"].as_str().unwrap()), "{parameter}");
        }
    }
    let one = text(&clino(&["rules", "median"], ""));
    assert!(one.starts_with("median\n") && !one.contains("hyperband"), "{one}");
    let output = clino(&["rules", "mean"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("found \"mean\""));
}

#[test]
fn the_guide_names_every_rule() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deciding.md")).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&text(&clino(&["rules", "--format", "json"], ""))).unwrap();
    let table = guide.split("## Which rule").nth(1).unwrap().split("\n## ").next().unwrap();
    for info in json.as_array().unwrap() {
        let name = format!("`{}`", info["name"].as_str().unwrap());
        assert!(table.contains(&name), "{name} is in no row");
    }
}

#[test]
fn a_history_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let policy = "[[rules]]\nname = \"patience\"\non = \"loss@de\"\nparameters = { patience = 2 }\n";
    std::fs::write(&path, policy).unwrap();
    let history = "{\"step\":1,\"value\":0.5}\n{\"step\":2,\"value\":0.6}\n{\"step\":3,\"value\":null}\n\
                   {\"step\":4,\"value\":0.7}\n{\"step\":5,\"value\":0.1}\n";
    let arguments = ["decide", "--policy", path.to_str().unwrap()];
    let shown = text(&clino(&arguments, history));
    assert!(shown.starts_with("run: STOP at step 4: patience on loss@de"), "{shown}");
    let json = text(&clino(&[&arguments[..], &["--format", "json"]].concat(), history));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&answer["stop"]["evaluated"]["step"], &answer["last"]["advice"]),
        (&4.into(), &"continue".into())
    );
    // The lines of `clino watch --json` give the same.
    let reading = |step: u64, value: f64| {
        format!(
            "{{\"event\":\"reading\",\"measure\":\"loss\",\"group\":\"de\",\"step\":{step},\"attempt\":1,\
             \"outcome\":\"measured\",\"value\":{value},\"sequence\":{step}}}\n"
        )
    };
    let history = [reading(1, 0.5), reading(2, 0.6), reading(4, 0.7)].concat();
    let shown = text(&clino(&arguments, &history));
    assert!(shown.starts_with("run: STOP at step 4"), "{shown}");
}

#[test]
fn a_stop_ends_a_run_where_it_is_enforced() {
    let policy = |mode: &str| POLICY.replace("MODE", mode).replace('\n', " ");
    let lines = "{\"run\":\"a\",\"step\":1,\"value\":1}\n{\"run\":\"b\",\"step\":1,\"value\":2}\n\
                 {\"run\":\"b\",\"step\":2,\"value\":0}\n{\"run\":\"a\",\"step\":2,\"value\":1}\n";
    let told = |mode: &str| text(&clino(&["decide"], &format!("{}\n{lines}", policy(mode))));
    // b is worse at the rung of step 1; where that is enforced, its value at step 2 is not there for a to be held against.
    let (enforced, advised) = (told("enforce"), told("advise"));
    assert!(
        enforced.contains("b: STOP at step 1") && enforced.contains("a: continue at step 2"),
        "{enforced}"
    );
    assert!(advised.contains("b: STOP at step 1") && advised.contains("a: STOP at step 2"), "{advised}");
}

#[test]
fn long_runs_are_compared_from_their_first_step_on() {
    let policy =
        r#"{"policy":{"rules":[{"name":"median","on":"loss","parameters":{"n_startup_trials":1}}]}}"#;
    let line = |run: &str, step: u64, value: f64| {
        format!("{{\"run\":\"{run}\",\"step\":{step},\"value\":{value}}}\n")
    };
    // Longer than what is held at once.
    let long: String = (1..=1_500).map(|step| line("long", step, 1.0 / step as f64)).collect();
    let told = text(&clino(&["decide"], &format!("{policy}\n{long}{}", line("late", 2, 0.6))));
    assert!(told.contains("late: STOP at step 2") && told.contains("at step 2: 0.5"), "{told}");
    let told = text(&clino(&["decide"], &format!("{policy}\n{long}{}", line("late", 2, 0.4))));
    assert!(told.contains("late: continue at step 2"), "{told}");
}

#[test]
fn what_is_wrong_is_told() {
    let output = clino(&["decide"], "{\"step\":1,\"value\":1}\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--policy"));
    let policy = POLICY.replace("MODE", "advise").replace('\n', " ").replace("min_resource", "min_resources");
    let output = clino(&["decide"], &format!("{policy}\n{{\"step\":1,\"value\":1}}\n"));
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("policy.rules[0].parameters.min_resources"), "{told}");
}
