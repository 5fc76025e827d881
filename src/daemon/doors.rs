//! Where the daemon listens.
//!
//! Owns: the binding of sockets, the files of unix sockets and the folder of the standard one.
//! May not touch: connections.

use crate::config::{Config, check_folder};
use crate::domain::{Fault, FaultKind};
use std::fs::{DirBuilder, Permissions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The file of a unix socket; removed when the daemon ends.
pub(super) struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens at a TCP address.
///
/// # Errors
/// [`FaultKind::Exists`] when another process does, [`FaultKind::Invalid`] for one that is not this machine's.
pub(super) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).map_err(|error| {
        let kind = if error.kind() == ErrorKind::AddrInUse { FaultKind::Exists } else { FaultKind::Invalid };
        Fault::field(kind, "listen", format!("{address}: {error}"))
    })
}

/// Listens at the unix socket, if there is to be one. Where there are tokens, everybody may come to a socket that was
/// named and is asked who they are, as on a port; the standard one is the user's own in any case.
///
/// # Errors
/// [`FaultKind::Exists`] when another process does, [`FaultKind::Invalid`] for a path or folder that cannot be used.
pub(super) fn bind_unix(config: &Config, tokens: bool) -> Result<Option<(UnixListener, SocketFile)>, Fault> {
    let Some(path) = &config.socket else { return Ok(None) };
    if let Some(folder) = path.parent().filter(|_| config.own_folder) {
        make_own(folder)?;
    }
    let mode = if tokens && !config.own_folder { 0o666 } else { 0o600 };
    bind(path, mode).map(Some)
}

/// A folder for this user alone: made, or found to be one.
fn make_own(folder: &Path) -> Result<(), Fault> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_folder("socket", folder),
        Err(error) => {
            let instead = "name another place with --socket and CLINO_ADDR";
            Err(Fault::invalid("socket", format!("{} cannot be made: {error}; {instead}", folder.display())))
        }
    }
}

/// A file that a dead daemon left is removed; one that is no socket, or where somebody listens, is not touched.
fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Fault> {
    let shown = path.display();
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(Fault::invalid("socket", format!("{shown} exists and is no socket")));
        }
        if UnixStream::connect(path).is_ok() {
            let description = format!("{shown}: another process listens there");
            return Err(Fault::field(FaultKind::Exists, "socket", description));
        }
        std::fs::remove_file(path).map_err(|e| Fault::invalid("socket", format!("{shown}: {e}")))?;
    }
    let bound = || {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(listener)
    };
    let listener = bound().map_err(|e: std::io::Error| Fault::invalid("socket", format!("{shown}: {e}")))?;
    Ok((listener, SocketFile(path.to_owned())))
}
