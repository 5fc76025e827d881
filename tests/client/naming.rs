//! Runs are named by ids, beginnings of ids, names and as the latest, by every command that takes one.

use crate::commands::{CommandCase, clino, stderr};
use std::process::Output;

fn opened(case: &CommandCase, name: &str) -> String {
    let output = case.open_as(name);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Such as tells a run from the others.
fn beginning(id: &str, others: &[&str]) -> String {
    let ends = 8..id.len();
    let end =
        ends.into_iter().find(|end| others.iter().all(|other| !other.starts_with(&id[..*end]))).unwrap();
    format!("{}…", &id[..end])
}

#[test]
fn every_command_that_takes_a_run_takes_any_of_its_names() {
    let case = CommandCase::new();
    let address = crate::address(&case.daemon);
    let (first, second) = (opened(&case, "lr 1e-3"), opened(&case, "lr 1e-4"));
    let asked = |command: &str, run: &str, more: &[&str]| -> Output {
        clino(&[&[command, "--addr", &address, run], more].concat())
    };
    let names = |id: &str, name: &str, other: &str| [id.to_owned(), name.to_owned(), beginning(id, &[other])];
    for (step, name) in (1..).zip(names(&first, "lr 1e-3", &second)) {
        let pushed = case.push(&name, "step.safetensors", &["--step", &step.to_string()]);
        assert!(pushed.status.success(), "{name}: {}", stderr(&pushed));
    }
    let pushed = case.push("latest", "step.safetensors", &["--step", "9"]);
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    let listed = clino(&["runs", "--addr", &address, "--format", "json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let accepted: Vec<_> = listed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["accepted"].as_u64().unwrap())
        .collect();
    assert_eq!(accepted, [3, 1]);
    // Neither has a policy, which both commands tell of the run that was found.
    for name in names(&second, "lr 1e-4", &first).iter().map(String::as_str).chain(["latest"]) {
        for (command, more) in [("decision", &[][..]), ("override", &["--reason", "a test"])] {
            let said = stderr(&asked(command, name, more));
            assert!(said.contains("policy") && !said.contains("found no"), "{command} {name}: {said}");
        }
    }
    let closed = asked("close", "lr 1e-3", &[]);
    assert!(closed.status.success(), "{}", stderr(&closed));
    for name in names(&first, "lr 1e-3", &second) {
        let watched = asked("watch", &name, &[]);
        assert!(watched.status.success(), "{}", stderr(&watched));
        assert!(String::from_utf8_lossy(&watched.stdout).ends_with("the run is closed\n"), "{name}");
    }
}

#[test]
fn several_runs_are_listed_and_none_says_what_lists_them() {
    let case = CommandCase::new();
    let address = crate::address(&case.daemon);
    let runs = [opened(&case, "twin"), opened(&case, "twin"), opened(&case, "other")];
    let file = case.path("step.safetensors");
    for arguments in [
        &["close", "--addr", &address, "twin"][..],
        &["watch", "--addr", &address, "twin"],
        &["decision", "--addr", &address, "twin"],
        &["override", "--addr", &address, "twin", "--reason", "x"],
        &["push", "--addr", &address, "--run", "twin", "--step", "1", &file],
    ] {
        let output = clino(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("2 runs") && said.contains(&runs[0]) && said.contains(&runs[1]), "{said}");
        assert!(!said.contains(&runs[2]), "{said}");
        let unknown: Vec<&str> =
            arguments.iter().map(|word| if *word == "twin" { "nobody" } else { *word }).collect();
        let output = clino(&unknown);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{unknown:?}: {said}");
        assert!(said.contains("\"nobody\"") && said.contains("`clino runs` lists the runs"), "{said}");
    }
}
