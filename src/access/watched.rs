//! Files that are read again when they change.
//!
//! Owns: the value that counts now; a broken file keeps the one before. May not touch: when it is looked at.

use clino_domain::Fault;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Most bytes of such a file.
const MOST: u64 = 4 << 20;

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reload {
    /// As before.
    None,
    /// Another value counts from now on.
    Fresh,
    /// The files are not what they should be, and this is not the look before's complaint again; the value before still
    /// counts.
    Broken(Fault),
}

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, Fault> + Send + Sync>;
type Check = fn(&Path, &Metadata) -> Result<(), Fault>;

/// A value that is made of files.
pub struct Watched<T> {
    /// What it is, for logs and faults.
    pub what: &'static str,
    files: Vec<PathBuf>,
    check: Check,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<LastLook>,
}

/// What the look before saw.
#[derive(PartialEq)]
enum LastLook {
    Content([u8; 32]),
    Unreadable(Fault),
}

impl<T> Watched<T> {
    /// Reads the files and makes the first value; `check` looks at each before it is read.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `what` when a file cannot be read or is not what it should be.
    pub fn open(what: &'static str, files: Vec<PathBuf>, check: Check, make: Make<T>) -> Result<Self, Fault> {
        let bytes = read(what, &files, check)?;
        let current = RwLock::new(Arc::new(make(&bytes)?));
        let seen = Mutex::new(LastLook::Content(digest(&bytes)));
        Ok(Self { what, files, check, make, current, seen })
    }

    /// The value that counts now.
    pub fn get(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Watched::look`], with what it is.
    pub fn both(&self) -> (&'static str, Reload) {
        (self.what, self.look())
    }

    /// Looks at the files, and takes up what has changed.
    pub fn look(&self) -> Reload {
        let read = read(self.what, &self.files, self.check);
        let now = match &read {
            Ok(bytes) => LastLook::Content(digest(bytes)),
            Err(fault) => LastLook::Unreadable(fault.clone()),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Reload::None;
        }
        *seen = now;
        match read.and_then(|bytes| (self.make)(&bytes)) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                Reload::Fresh
            }
            Err(fault) => Reload::Broken(fault),
        }
    }
}

fn digest(files: &[Vec<u8>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for bytes in files {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    digest.finalize().into()
}

fn read(what: &str, files: &[PathBuf], check: Check) -> Result<Vec<Vec<u8>>, Fault> {
    let one = |path: &PathBuf| {
        let wrong = |why: String| Fault::invalid(what, format!("{}: {why}", path.display()));
        let failed = |error: std::io::Error| wrong(error.to_string());
        // A FIFO that nobody writes to would be waited for.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        // Of the open file: nothing can be put in its place between the check and the reading.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(wrong("expected a regular file".into()));
        }
        check(path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 > MOST {
            true => Err(wrong(format!("expected at most {MOST} bytes"))),
            false => Ok(bytes),
        }
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(path: &Path) -> Watched<u32> {
        let make = |files: &[Vec<u8>]| {
            let text = String::from_utf8_lossy(&files[0]);
            text.parse().map_err(|_| Fault::invalid("number", "expected digits"))
        };
        Watched::open("number", vec![path.to_owned()], |_, _| Ok(()), Box::new(make)).unwrap()
    }

    #[test]
    fn a_broken_file_keeps_the_value_before_and_complains_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let watched = number(&path);
        assert!(matches!(watched.look(), Reload::None));
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(watched.look(), Reload::Broken(_)));
        assert!(matches!(watched.look(), Reload::None));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(watched.look(), Reload::Broken(_)));
        assert!(matches!(watched.look(), Reload::None));
        assert_eq!(*watched.get(), 1);
        std::fs::write(&path, "2").unwrap();
        assert!(matches!(watched.look(), Reload::Fresh));
        assert_eq!(*watched.get(), 2);
    }
}
