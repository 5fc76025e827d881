//! Whose a directory is: the mark that says so, and what tells a directory of a version that made no mark.
//!
//! Owns: the mark, and which directories are refused. May not touch: anything in a directory that is not clino's.

use super::names::{DATABASE, LOCK, MARK, ROOMS, UNFINISHED_MARK, is_of_the_folder, is_tensors};
use super::private::create;
use super::reader::is_ours;
use clino_domain::text::listed;
use clino_domain::{Fault, FaultKind};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use uuid::Uuid;

/// The only version of the mark that there is.
const VERSION: u32 = 1;
/// Text of the mark for people who open it.
const ABOUT: &str = "This directory holds the history of a clino daemon (clino serve --data). Files in it are clino's: it \
                     makes them, and it removes those that it made. Put nothing else here.";
/// Longest mark, and longest lock, that is read.
const MOST_BYTES: u64 = 4_096;
/// Made by mkfs in every directory that a disk is mounted at.
const LOST_AND_FOUND: &str = "lost+found";
/// So many names of a foreign directory are told.
const SOME: usize = 3;

#[derive(Serialize, Deserialize)]
struct Mark {
    about: String,
    version: u32,
    /// Random: no two histories have the same.
    id: String,
}

/// Whether a directory may be used: it has a mark, it is empty, or an older version made it. Changes nothing.
///
/// # Errors
/// [`FaultKind::Invalid`] for one that holds something else, and where it cannot be read;
/// [`FaultKind::Precondition`] for one that a newer version has marked.
pub(super) fn admit(path: &Path) -> Result<(), Fault> {
    let unusable = |error: io::Error| Fault::invalid("data", format!("{}: {error}", path.display()));
    let names = names(path).map_err(unusable)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if has(MARK) {
        return check(path);
    }
    let beginning = |name: &OsString| *name == *LOCK || *name == *UNFINISHED_MARK;
    let mut others = names.iter().filter(|name| !beginning(name) && **name != *LOST_AND_FOUND);
    let begun = others.next().is_none() && (!has(LOCK) || is_lock(path));
    if begun || is_older(path, &names)? {
        return Ok(());
    }
    Err(foreign(path, &names))
}

fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn foreign(path: &Path, names: &[OsString]) -> Fault {
    let description = format!(
        "found {}, which holds {} but no history of clino: choose an empty or a new directory, such as {}",
        path.display(),
        listed(names.iter().map(|name| format!("{name:?}")), SOME),
        path.join("clino").display()
    );
    Fault::invalid("data", description)
}

/// The text of a small regular file; links are not followed, and nothing is waited for.
fn text(path: &Path) -> io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn check(path: &Path) -> Result<(), Fault> {
    let file = path.join(MARK);
    let instead = "choose another directory, or restore the mark that clino wrote there";
    let wrong = |why: String| Fault::invalid("data", format!("{}: {why}; {instead}", file.display()));
    let text = text(&file).map_err(|error| wrong(error.to_string()))?;
    let mark: Mark =
        serde_json::from_str(&text).map_err(|error| wrong(format!("it is not a valid mark: {error}")))?;
    if mark.version > VERSION {
        let description = format!(
            "{} has version {}, expected at most {VERSION}: a newer clino made it; use that version, or another \
            directory",
            file.display(),
            mark.version
        );
        return Err(Fault::field(FaultKind::Precondition, "data", description));
    }
    Ok(())
}

/// Whether `lock` is what a daemon writes there: nothing, or its number.
fn is_lock(path: &Path) -> bool {
    text(&path.join(LOCK)).is_ok_and(|text| text.trim().bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a version that made no mark made this directory: its database has our tables; or, where that is damaged, all
/// that this version always made is there, and nothing else.
fn is_older(path: &Path, names: &[OsString]) -> Result<bool, Fault> {
    let file = path.join(DATABASE);
    let is_file = fs::symlink_metadata(&file).is_ok_and(|found| found.is_file());
    if is_file && is_ours(&file)? {
        return Ok(true);
    }
    let has = |name: &str| names.iter().any(|found| found == name);
    let own = |name: &OsString| name.to_str().is_some_and(is_of_the_folder) || *name == *LOST_AND_FOUND;
    let layout = has(LOCK) && ROOMS.iter().all(|room| has(room)) && names.iter().all(own);
    Ok(layout && is_lock(path) && ROOMS.iter().all(|room| holds_tensors_alone(&path.join(room))))
}

fn holds_tensors_alone(path: &Path) -> bool {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let own = |name: &OsString| name.to_str().is_some_and(is_tensors);
    is_directory && names(path).is_ok_and(|names| names.iter().all(own))
}

/// Marks a directory as clino's, unless it is.
///
/// # Errors
/// If the disk fails.
pub(super) fn write(path: &Path) -> io::Result<()> {
    let mark = path.join(MARK);
    let unfinished = path.join(UNFINISHED_MARK);
    if fs::symlink_metadata(&mark).is_ok() {
        return Ok(());
    }
    let content = Mark { about: ABOUT.into(), version: VERSION, id: Uuid::now_v7().to_string() };
    let mut file = create(&unfinished)?;
    writeln!(file, "{}", serde_json::to_string_pretty(&content)?)?;
    file.sync_all()?;
    fs::rename(unfinished, mark)?;
    File::open(path)?.sync_all()
}
