//! The Rust client and the commands built on it, against real daemons in processes of their own.
#![allow(clippy::unwrap_used, missing_docs)]

mod background;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod endpoint;
mod fixture;
mod frozen;
mod mistakes;
mod naming;
mod offline;
mod probes;
mod sdk;
mod sockets;
mod terminal;

use common::Daemon;
use std::path::Path;

/// A daemon on `clino.sock` in a directory.
fn daemon(directory: &Path) -> Daemon {
    Daemon::at(&directory.join("clino.sock"), &["--log", "warn"])
}

/// Where a daemon listens.
fn address(daemon: &Daemon) -> String {
    daemon.unix.clone().unwrap()
}
