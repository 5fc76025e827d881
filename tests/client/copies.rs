//! A copy of a history, such as `.backup` makes, is read wherever it lies: also where nothing can be written.

use crate::common::Daemon;
use crate::fixture;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Nobody in particular.
const STRANGER: u32 = 65_534;

struct Copied {
    folder: tempfile::TempDir,
    program: PathBuf,
    run: String,
}

impl Copied {
    /// A folder `copy` that cannot be written, with a database that says of itself that it keeps a log.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut daemon = Daemon::at(
            &folder.path().join("clino.sock"),
            &["--data", data.to_str().unwrap(), "--log", "warn"],
        );
        let run = Self::measured(folder.path(), &daemon);
        daemon.signal("-TERM");
        assert!(daemon.wait().0.success());
        let copy = folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(data.join("history.db"), copy.join("history.db")).unwrap();
        let database = std::fs::read(copy.join("history.db")).unwrap();
        assert_eq!(database[18..20], [2, 2], "a database with a log, as SQLite's file format tells");
        let program = folder.path().join("clino");
        // By a process of its own: a file that this one has open to write cannot be run by what another test forks now.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_clino")).arg(&program).status().unwrap();
        assert!(copied.success());
        std::fs::set_permissions(copy.join("history.db"), Permissions::from_mode(0o444)).unwrap();
        std::fs::set_permissions(&copy, Permissions::from_mode(0o555)).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder, program, run }
    }

    fn measured(folder: &Path, daemon: &Daemon) -> String {
        std::fs::write(folder.join("config.json"), fixture::CONFIG).unwrap();
        let probe = fixture::save(folder, "probe.safetensors", &fixture::probe(16, 8));
        let weights =
            fixture::save(folder, "step.safetensors", &fixture::parameters(&crate::commands::specs(), 1));
        let (address, config) = (crate::address(daemon), folder.join("config.json"));
        let clino = |arguments: &[&str]| crate::commands::clino(arguments);
        let [probe, weights, config] = [&probe, &weights, &config].map(|path| path.to_str().unwrap());
        let opened = clino(&[
            "open",
            "--addr",
            &address,
            "--config",
            config,
            "--probe",
            probe,
            "--name",
            "kept",
            "--measure",
            "loss",
        ]);
        let run = String::from_utf8(opened.stdout).unwrap().trim().to_owned();
        assert!(clino(&["push", "--addr", &address, "--run", &run, "--step", "7", weights]).status.success());
        assert!(clino(&["close", "--addr", &address, &run]).status.success());
        assert!(clino(&["watch", "--addr", &address, &run]).status.success());
        run
    }

    /// As somebody whom the folder's mode binds.
    fn clino(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        if rustix::process::geteuid().is_root() {
            command.uid(STRANGER).gid(STRANGER);
        }
        command.args(arguments).env_remove("COLUMNS").output().unwrap()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // So that it can be removed.
        let _ = std::fs::set_permissions(self.folder.path().join("copy"), Permissions::from_mode(0o755));
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_copy_that_cannot_be_written_is_read() {
    let copied = Copied::new();
    let folder = copied.folder.path().join("copy");
    let database = folder.join("history.db");
    for data in [&folder, &database].map(|path| path.to_str().unwrap()) {
        let sql = "SELECT id, measured FROM runs";
        let rows = text(&copied.clino(&["query", "--data", data, "--format", "csv", "--sql", sql]));
        assert_eq!(rows, format!("id,measured\n{},1\n", copied.run));
        let csv = text(&copied.clino(&["export", "--data", data, "--csv", "-", "--run", "kept"]));
        assert_eq!(csv.lines().count(), 1 + 2, "{csv}");
        let table = text(&copied.clino(&["runs", "--data", data]));
        assert!(table.contains("kept") && table.contains("1 of 1") && table.contains(&copied.run), "{table}");
        let line: serde_json::Value =
            serde_json::from_str(&text(&copied.clino(&["runs", "--data", data, "--format", "json"])))
                .unwrap();
        assert_eq!((line["state"].as_str(), line["step"].as_u64()), (Some("closed"), Some(7)));
        assert_eq!(line["latest"].as_array().unwrap().len(), 2, "{line}");
        let none = text(&copied.clino(&["runs", "--data", data, "--open", "--format", "json"]));
        assert_eq!(none, "");
        let unknown = copied.clino(&["export", "--data", data, "--csv", "-", "--run", "nobody"]);
        let said = String::from_utf8(unknown.stderr).unwrap();
        assert!(unknown.status.code() == Some(1) && said.contains("clino runs --data"), "{said}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing was written");
}

#[test]
fn what_is_no_history_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "no database at all, but some bytes ".repeat(99)).unwrap();
    for (data, part) in
        [(file.as_path(), "is not a history of clino"), (folder.path(), "found no history.db")]
    {
        let output = crate::commands::clino(&["runs", "--data", data.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(part), "{said}");
    }
}
