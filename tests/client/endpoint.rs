//! Where a daemon and its clients meet when neither is told: a unix socket of the user's own.

use crate::common::PATIENCE;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

/// A user and the environment in which both programs are started.
struct User {
    binary: PathBuf,
    runtime: Option<PathBuf>,
    uid: Option<u32>,
}

impl User {
    fn at(runtime: &Path) -> Self {
        Self { binary: env!("CARGO_BIN_EXE_clino").into(), runtime: Some(runtime.into()), uid: None }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.runtime.iter().map(|runtime| ("XDG_RUNTIME_DIR", runtime)));
        if let Some(uid) = self.uid {
            command.uid(uid);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// A daemon without a word about where it listens, and what it prints.
    fn serve(&self) -> ServedSocket {
        let mut child = self.command(&["serve", "--threads", "1", "--log", "error"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        ServedSocket(child, line)
    }
}

struct ServedSocket(Child, String);

impl ServedSocket {
    fn end(&mut self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "the daemon does not end");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for ServedSocket {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_word_they_meet_at_a_socket_of_the_users_own() {
    let runtime = tempfile::tempdir().unwrap();
    let user = User::at(runtime.path());
    let socket = runtime.path().join("clino/clino.sock");
    let nobody = user.run(&["runs"]);
    let expected = format!("no daemon at unix://{}: ", socket.display());
    assert!(said(&nobody).contains(&expected), "{}", said(&nobody));
    assert!(said(&nobody).contains("start one with `clino serve`"), "{}", said(&nobody));

    let mut daemon = user.serve();
    assert_eq!(daemon.1, format!("listening unix://{}\n", socket.display()), "no port");
    assert_eq!((mode(socket.parent().unwrap()), mode(&socket)), (0o700, 0o600));
    assert!(user.run(&["runs"]).status.success());
    let fleet = user.run(&["fleet", "--once"]);
    assert!(fleet.status.success(), "{}", said(&fleet));

    let second = user.run(&["serve"]);
    assert_eq!(second.status.code(), Some(75), "{}", said(&second));
    assert!(said(&second).contains("another process listens there"), "{}", said(&second));
    assert!(user.run(&["runs"]).status.success());

    daemon.end("-KILL");
    assert!(socket.exists(), "a killed daemon cannot tidy up");
    assert!(said(&user.run(&["runs"])).contains(&expected));
    let mut daemon = user.serve();
    assert!(user.run(&["runs"]).status.success(), "what a dead daemon left is replaced");
    daemon.end("-TERM");
    assert!(!socket.exists());
}

#[test]
fn a_folder_that_is_not_the_users_alone_is_refused() {
    let runtime = tempfile::tempdir().unwrap();
    let user = User::at(runtime.path());
    let folder = runtime.path().join("clino");
    let refused = |word: &str| {
        let output = user.run(&["serve"]);
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
        let named = said(&output).contains(folder.to_str().unwrap());
        assert!(named && said(&output).contains(word), "{}", said(&output));
    };
    std::fs::create_dir(&folder).unwrap();
    for wrong in [0o770, 0o707] {
        set_mode(&folder, wrong);
        refused("expected a folder that no one else can write");
    }
    std::fs::remove_dir(&folder).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), &folder).unwrap();
    refused("found a link");
    std::fs::remove_file(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    refused("found a link or a file");
    // The folder above it is made by whoever logs somebody in, not here.
    let nowhere = User::at(&runtime.path().join("none"));
    let output = nowhere.run(&["serve"]);
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("choose another path with --socket"), "{}", said(&output));
}

/// Users whose numbers nobody has, and a copy of the program where they may run it.
struct Strangers {
    directory: tempfile::TempDir,
    first: User,
    folder: PathBuf,
}

impl Strangers {
    /// Needs the right to become somebody else.
    fn new(number: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not run: only root can become another user");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        set_mode(directory.path(), 0o755);
        let binary = directory.path().join("clino");
        // By a process of its own: a file that this one had open to write could not be run while another test starts one.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_clino")).arg(&binary).status().unwrap().success());
        let uid = 1_000_000 + 4 * std::process::id() + number;
        let folder = PathBuf::from(format!("/tmp/clino-{uid}"));
        Some(Self { directory, first: User { binary, runtime: None, uid: Some(uid) }, folder })
    }

    fn second(&self, runtime: Option<PathBuf>) -> User {
        User { binary: self.first.binary.clone(), runtime, uid: self.first.uid.map(|uid| uid + 2) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn another_user_who_reaches_the_socket_is_refused() {
    let Some(strangers) = Strangers::new(0) else { return };
    let daemon = strangers.first.serve();
    let socket = strangers.folder.join("clino.sock");
    assert_eq!(daemon.1, format!("listening unix://{}\n", socket.display()));
    assert_eq!((mode(&strangers.folder), mode(&socket)), (0o700, 0o600));
    assert!(strangers.first.run(&["runs"]).status.success());
    let address = format!("unix://{}", socket.display());
    let second = strangers.second(None);
    let kept_out = second.run(&["runs", "--addr", &address]);
    assert!(said(&kept_out).contains("Permission denied"), "{}", said(&kept_out));
    // Even where the file lets them in.
    set_mode(&strangers.folder, 0o755);
    set_mode(&socket, 0o666);
    let refused = second.run(&["runs", "--addr", &address]);
    assert!(said(&refused).contains("found a user without an entry"), "{}", said(&refused));
    assert!(strangers.first.run(&["runs"]).status.success());
}

#[test]
fn a_folder_that_another_user_made_first_is_used_by_nobody() {
    let Some(strangers) = Strangers::new(1) else { return };
    std::fs::create_dir(&strangers.folder).unwrap();
    set_mode(&strangers.folder, 0o755);
    let trap = User { binary: strangers.first.binary.clone(), runtime: None, uid: None };
    let _trap = {
        let socket = strangers.folder.join("clino.sock");
        let mut child = trap.command(&["serve", "--socket", socket.to_str().unwrap()]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        set_mode(&socket, 0o666);
        ServedSocket(child, line)
    };
    for words in [&["serve"][..], &["runs"][..], &["fleet", "--once"][..]] {
        let output = strangers.first.run(words);
        assert!(said(&output).contains("found a folder of user 0"), "{words:?}: {}", said(&output));
        assert!(!output.status.success());
    }
    assert!(strangers.directory.path().exists());
}
