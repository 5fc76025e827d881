//! Files that somebody names on the command line: opened without waiting for anybody, and refused where they have no end.
//!
//! Owns: what may be read. May not touch: what is in there.

use clino_domain::{Fault, FaultKind};
use rustix::fs::OFlags;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Most bytes of a text: a config.json or a policy is a thousandth of it.
const MOST_TEXT: u64 = 64 << 20;

/// The fault for a file that cannot be read.
pub fn unreadable(error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => FaultKind::Invalid,
        io::ErrorKind::PermissionDenied => FaultKind::Denied,
        _ => FaultKind::Internal,
    };
    Fault::new(kind, error.to_string())
}

/// Opens a regular file; the message does not name it.
///
/// # Errors
/// [`FaultKind::NotFound`] without it; [`FaultKind::Invalid`] for a FIFO, a socket, a device or a directory, at once and
/// without reading any of it; those of the disk.
pub fn open(path: &Path) -> Result<File, Fault> {
    // A socket cannot be opened: what it is has to be asked before.
    let before = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    check(before.file_type())?;
    // It may be another one by now: without waiting, and asked again.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| unreadable(&error))?;
    check(file.metadata().map_err(|error| unreadable(&error))?.file_type())?;
    Ok(file)
}

fn check(found: FileType) -> Result<(), Fault> {
    let (name, instead) = if found.is_file() {
        return Ok(());
    } else if found.is_dir() {
        ("a directory", "name the file in it")
    } else if found.is_fifo() {
        ("a FIFO", "write its output to a file first")
    } else if found.is_socket() {
        ("a socket", "name the file itself; a daemon's socket is for --addr")
    } else {
        ("a device", "name a file")
    };
    Err(Fault::new(FaultKind::Invalid, format!("found {name}, expected a regular file: {instead}")))
}

/// All bytes of a small file.
///
/// # Errors
/// Those of [`open`]; [`FaultKind::Invalid`] when it is no small one.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    open(path)?.take(MOST_TEXT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    match bytes.len() as u64 > MOST_TEXT {
        true => Err(Fault::new(FaultKind::Invalid, format!("expected at most {MOST_TEXT} bytes"))),
        false => Ok(bytes),
    }
}

/// A text, such as a config.json.
///
/// # Errors
/// [`FaultKind::Invalid`] naming the file: those of [`bytes`], and for what is no UTF-8.
pub fn text(path: &Path) -> Result<String, Fault> {
    let wrong = |why: String| Fault::invalid(path.display().to_string(), why);
    let bytes = bytes(path).map_err(|fault| wrong(fault.message))?;
    String::from_utf8(bytes).map_err(|_| wrong("expected text in UTF-8".into()))
}

/// Whether this many bytes of a file fit into memory: a file may claim more than there is.
///
/// # Errors
/// [`FaultKind::Exhausted`] telling how much there is.
pub fn check_memory(bytes: u64) -> Result<(), Fault> {
    let Ok(system) = std::fs::read_to_string("/proc/meminfo") else { return Ok(()) };
    let line = system.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match kibibytes.map(|kibibytes| kibibytes << 10).filter(|available| *available < bytes) {
        None => Ok(()),
        Some(available) => {
            let message = format!(
                "its tensors take {bytes} bytes, and this machine has {available} free: use a machine with more \
                memory, or a smaller file"
            );
            Err(Fault::new(FaultKind::Exhausted, message))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn row_63_what_has_no_end_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("fifo"), path("link")).unwrap();
        let found = [
            (path("fifo"), "a FIFO"),
            (path("link"), "a FIFO"),
            (path("socket"), "a socket"),
            (directory.path().to_owned(), "a directory"),
            ("/dev/zero".into(), "a device"),
        ];
        for (path, name) in found {
            let fault = open(&path).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Invalid);
            assert!(fault.message.contains(&format!("found {name}")), "{}: {fault}", path.display());
            assert!(text(&path).unwrap_err().message.contains(path.to_str().unwrap()));
        }
        assert_eq!(open(&path("nothing")).unwrap_err().kind, FaultKind::NotFound);
    }

    #[test]
    fn row_63_more_than_the_machine_has_is_refused_before_it_is_read() {
        let fault = check_memory(1 << 60).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Exhausted);
        check_memory(1).unwrap();
    }
}
