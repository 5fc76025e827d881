//! Files and directories for this user alone.
//!
//! Owns: their rights. May not touch: what they are for.

use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Opens a file to be written from its beginning, for this user alone whatever the umask. A link in its place is not
/// followed.
///
/// # Errors
/// If the disk fails.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let mut options = File::options();
    alone(options.write(true).create(true).truncate(true).custom_flags(flags), path)
}

/// Makes a file that is not there, for this user alone whatever the umask.
///
/// # Errors
/// Those of the disk; [`io::ErrorKind::AlreadyExists`] where there is one.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    alone(File::options().write(true).create_new(true), path)
}

fn alone(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Makes a directory for this user alone, and those above it.
///
/// # Errors
/// If the disk fails.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}
