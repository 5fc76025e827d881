//! Where a daemon and its clients meet when neither is told: a unix socket in a folder of the user's own.
//!
//! Owns: the order of such places, which docs/access.md has and clients/python/src/clino/_settings.py repeats; what makes
//! their folder one to trust. May not touch: sockets.

use clino_domain::Fault;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The folder of runtime files of the user who is logged in.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";
/// Where anybody may have put a folder first.
const SHARED: &str = "/tmp";
const SOCKET: &str = "clino.sock";
/// Where the clients look for the daemon.
const ADDRESS_VARIABLE: &str = "CLINO_ADDR";

/// Address of the daemon for clients that are not told another: `CLINO_ADDR`, or the socket where `clino serve` of this
/// user listens by default.
pub fn client_address() -> String {
    let standard = || address_of(&standard_socket());
    std::env::var(ADDRESS_VARIABLE).ok().filter(|address| !address.is_empty()).unwrap_or_else(standard)
}

/// The unix socket of this user's daemon.
pub fn standard_socket() -> PathBuf {
    place(std::env::var_os(RUNTIME_VARIABLE), own())
}

/// The place for a user. A folder that is no absolute path is none, as those who made the variable want it.
fn place(runtime: Option<OsString>, uid: u32) -> PathBuf {
    let runtime = runtime.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = match (runtime, uid) {
        (Some(runtime), _) => runtime.join("clino"),
        (None, 0) => PathBuf::from("/run/clino"),
        (None, uid) => Path::new(SHARED).join(format!("clino-{uid}")),
    };
    folder.join(SOCKET)
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a folder is this user's alone to change.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `field` and what is wrong with it.
pub fn check_folder(field: &str, folder: &Path) -> Result<(), Fault> {
    let wrong = |why: String| {
        let instead = "remove it, or choose another path with --socket and CLINO_ADDR";
        Fault::invalid(field, format!("{}: {why}; {instead}", folder.display()))
    };
    let found = std::fs::symlink_metadata(folder).map_err(|error| wrong(error.to_string()))?;
    match distrust(&found, own()) {
        None => Ok(()),
        Some(why) => Err(wrong(why)),
    }
}

fn distrust(found: &Metadata, own: u32) -> Option<String> {
    let owner = found.uid();
    let mode = found.mode() & 0o777;
    if !found.is_dir() {
        Some("found a link or a file, expected a folder".into())
    } else if owner != own {
        Some(format!("found a folder of user {owner}, expected one of user {own}"))
    } else if mode & 0o022 != 0 {
        Some(format!("found mode {mode:04o}, expected a folder that no one else can write (0700)"))
    } else {
        None
    }
}

/// Whether a client may trust what listens at an address. In a folder that everybody can write, another user may have
/// been there first, and would get snapshots and tokens.
///
/// # Errors
/// Those of [`check_folder`], naming `addr`.
pub fn check_address(address: &str) -> Result<(), Fault> {
    let socket = standard_socket();
    let folder = socket.parent().filter(|folder| folder.parent() == Some(Path::new(SHARED)));
    match folder.filter(|folder| address_of(&socket) == address && folder.symlink_metadata().is_ok()) {
        Some(folder) => check_folder("addr", folder),
        None => Ok(()),
    }
}

/// A socket as clients name it.
fn address_of(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_order_of_places() {
        let table = include_str!("../../../tests/places.tsv");
        let rows: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(rows.len() > 5, "{table}");
        for row in rows {
            let [runtime, uid, expected] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row:?}") };
            let runtime = (runtime != "-").then(|| OsString::from(runtime));
            assert_eq!(place(runtime, uid.parse().unwrap()), Path::new(expected), "{row:?}");
        }
    }

    #[test]
    fn a_folder_that_others_can_change_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("folder");
        let link = directory.path().join("link");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let mode = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
        let why = |path: &Path| check_folder("socket", path).unwrap_err().message;
        for fine in [0o700, 0o750, 0o755] {
            mode(fine);
            check_folder("socket", &folder).unwrap();
        }
        assert!(why(&link).contains("found a link"), "{}", why(&link));
        for wrong in [0o770, 0o702] {
            mode(wrong);
            assert!(why(&folder).contains(&format!("found mode {wrong:04o}")), "{}", why(&folder));
        }
        mode(0o700);
        let found = folder.symlink_metadata().unwrap();
        let other = distrust(&found, own() + 1).unwrap();
        assert!(other.contains(&format!("found a folder of user {}", own())), "{other}");
    }
}
