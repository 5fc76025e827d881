//! The daemon of the example: this program again, in a process of its own, as `clino serve` on a unix socket.
//!
//! Owns: the process and its socket. May not touch: training.

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The first argument that makes this program a daemon: the rest are the arguments of `clino`.
pub const AS_DAEMON: &str = "--daemon";
/// How long a daemon may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// A daemon that ends with its owner.
pub struct ChildDaemon {
    process: Child,
    /// Holds the socket.
    _directory: TempDir,
    address: String,
}

impl ChildDaemon {
    /// Starts one; it may not be listening yet.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("clino.sock");
        let mut command = Command::new(std::env::current_exe()?);
        command.args([AS_DAEMON, "serve", "--log", "warn", "--socket"]).arg(&socket);
        // Its line with the addresses is for scripts; its log goes where ours goes.
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { process, address: format!("unix://{}", socket.display()), _directory: directory })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for ChildDaemon {
    /// Asks it to drain; ends it when it does not.
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let deadline = Instant::now() + GRACE;
        while asked.is_ok() && Instant::now() < deadline {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing is left to be done about a process that cannot even be killed.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}
