//! A daemon in a process of its own, on a unix socket in a directory of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Killed when dropped.
pub struct Daemon {
    process: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts one and waits until it listens.
    pub fn start(directory: &Path) -> Self {
        let socket = directory.join("clino.sock");
        let mut process = Command::new(env!("CARGO_BIN_EXE_clino"))
            .args(["serve", "--log", "warn", "--threads", "1", "--socket"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening "), "{line:?}");
        Self { process, socket }
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        assert!(signal("-TERM", self.id()));
    }
}

/// Sends a signal to a process of this test.
pub fn signal(name: &str, process: u32) -> bool {
    Command::new("kill").args([name, &process.to_string()]).status().unwrap().success()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
