//! Where the daemon listens.
//!
//! Owns: the binding of sockets, the files of unix sockets and the folder of the standard one.
//! May not touch: connections; a file that is no socket, and the socket of another process.

use crate::config::Config;
use clino_client::endpoint::check_folder;
use clino_domain::{Fault, FaultKind};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another process may hold the lock on a socket's folder: it does for as long as a socket is bound or removed.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// The file of a unix socket that this daemon has bound; removed when it ends, unless another one has it by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub path: PathBuf,
    /// The file itself: while it is open no other one gets its number.
    file: File,
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), file: file.into() })
    }

    /// Whether it still lies at its path.
    fn is_there(&self) -> bool {
        let inode = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::symlink_metadata(&self.path).map(inode).ok();
        there.is_some() && there == self.file.metadata().map(inode).ok()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _turn = SocketLock::wait(&self.path);
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A lock on the folder of a socket: between looking at a socket and removing or binding it nobody else does either. Without
/// rights to read the folder, or on a file system without locks, there is none, and the look at the file has to do.
struct SocketLock {
    _folder: File,
}

impl SocketLock {
    fn wait(socket: &Path) -> Option<Self> {
        let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder.unwrap_or(Path::new(".")), flags, Mode::empty()).ok()?;
        let began = Instant::now();
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(Self { _folder: folder.into() }),
                Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                Err(_) => return None,
            }
        }
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
            let instead = "choose another path with --socket and CLINO_ADDR";
            Err(Fault::invalid(
                "socket",
                format!("{} cannot be created: {error}; {instead}", folder.display()),
            ))
        }
    }
}

/// A file that a dead daemon left is removed; one that is no socket, or where somebody listens, is not touched.
fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Fault> {
    let wrong = |why: String| Fault::invalid("socket", format!("{}: {why}", path.display()));
    let _turn = SocketLock::wait(path);
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(wrong("it exists and is not a socket; choose another path, or move it away".into()));
        }
        check_dead(path)?;
        std::fs::remove_file(path).map_err(|error| wrong(error.to_string()))?;
    }
    let listener = bound(path, mode).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => occupied(path, ""),
        _ => wrong(error.to_string()),
    })?;
    let file = SocketFile::of(path).map_err(|error| wrong(error.to_string()))?;
    Ok((listener, file))
}

/// Nobody else can connect before the rights are those that are wanted, whatever the umask is.
fn bound(path: &Path, mode: u32) -> std::io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

fn occupied(path: &Path, why: &str) -> Fault {
    Fault::field(
        FaultKind::Exists,
        "socket",
        format!("{}: another process listens there{why}", path.display()),
    )
}

/// Only a socket that refuses connections is dead: one that is busy, or that we may not use, belongs to a process.
fn check_dead(path: &Path) -> Result<(), Fault> {
    let tried = || -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    match tried() {
        Ok(()) => Err(occupied(path, "")),
        Err(Errno::CONNREFUSED) => Ok(()),
        // Its queue is full.
        Err(Errno::AGAIN | Errno::INPROGRESS) => Err(occupied(path, ", and does not answer")),
        Err(Errno::PROTOTYPE) => Err(occupied(path, ", with a socket of another type")),
        Err(error) => {
            let instead = "choose another path with --socket, or remove it if nothing uses it";
            Err(Fault::invalid(
                "socket",
                format!("{}: cannot connect to it: {error}; {instead}", path.display()),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::sync::Barrier;

    #[test]
    fn row_52_only_the_daemon_whose_socket_it_is_removes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (old, file) = bind(&path, 0o600).unwrap();
        // A draining daemon does not listen any more, and its successor takes the path over.
        drop(old);
        let (_new, successor) = bind(&path, 0o600).unwrap();
        drop(file);
        assert!(path.exists(), "the socket of the successor is still there");
        assert_eq!(bind(&path, 0o600).unwrap_err().kind, FaultKind::Exists);
        drop(successor);
        assert!(!path.exists());
    }

    #[test]
    fn row_52_what_is_no_dead_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "precious").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        let _other = UnixDatagram::bind(path("datagrams")).unwrap();
        for name in ["file", "link", "datagrams"] {
            let fault = bind(&path(name), 0o600).unwrap_err();
            assert!(matches!(fault.kind, FaultKind::Invalid | FaultKind::Exists), "{name}: {fault}");
            assert!(std::fs::symlink_metadata(path(name)).is_ok(), "{name}");
        }
        assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "precious");
    }

    #[test]
    fn row_52_a_socket_that_answers_nobody_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let frozen =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
        rustix::net::bind(&frozen, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&frozen, 0).unwrap();
        // Fills its queue: whoever comes next would wait for ever.
        let first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let fault = bind(&path, 0o600).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
        assert!(path.exists());
        drop(first);
    }

    #[test]
    fn row_52_of_many_that_start_at_once_one_listens() {
        const STARTERS: usize = 16;
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("s");
            // What a killed one left.
            drop(UnixListener::bind(&path).unwrap());
            let together = Barrier::new(STARTERS);
            let start = || {
                together.wait();
                bind(&path, 0o600).ok()
            };
            let bound: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(bound.len(), 1);
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn row_59_a_socket_is_private_whatever_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_listener, _file) = bind(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
