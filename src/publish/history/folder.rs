//! The directory of a history: its lock, its kind of file system, and the files of tensors in it.
//!
//! Owns: names in the directory. May not touch: rows.

use crate::domain::{Fault, FaultKind};
use rustix::fs::{FlockOperation, flock, statfs};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the database in the directory.
pub const DATABASE: &str = "history.db";
const LOCK: &str = "lock";
/// Magic numbers of file systems that a network is behind: NFS, SMB, CIFS, SMB2, 9P.
const NETWORKS: [u64; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];

/// A directory that is ours until this drops.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Whether processes on one machine share memory there, as WAL asks for.
    pub local: bool,
    _lock: File,
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Fault + '_ {
    |error| Fault::invalid("data", format!("{}: {error}", path.display()))
}

impl Folder {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when another daemon has it, [`FaultKind::Invalid`] when it cannot be used.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let unusable = unusable(path);
        for folder in [path.to_owned(), path.join("probes"), path.join("snapshots")] {
            fs::create_dir_all(folder).map_err(&unusable)?;
        }
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(path.join(LOCK));
        let mut lock = lock.map_err(&unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(occupied(path, &mut lock)),
            Err(error) => return Err(unusable(error.into())),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(&unusable)?;
        writeln!(lock, "{}", std::process::id()).map_err(&unusable)?;
        let kind = statfs(path).map_err(|error| unusable(error.into()))?.f_type as u64 & 0xffff_ffff;
        Ok(Self { path: path.to_owned(), local: !NETWORKS.contains(&kind), _lock: lock })
    }

    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Puts a damaged database aside, with what belongs to it; tells its new name.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when it cannot be renamed.
    pub fn quarantine(&self) -> Result<String, Fault> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{DATABASE}.corrupt-{}-{:03}", since.as_secs(), since.subsec_millis());
        for end in ["", "-wal", "-shm"] {
            let from = self.path.join(format!("{DATABASE}{end}"));
            if from.exists() {
                fs::rename(from, self.path.join(format!("{name}{end}"))).map_err(unusable(&self.path))?;
            }
        }
        Ok(name)
    }

    pub fn probe(&self, digest: &str) -> PathBuf {
        self.path.join("probes").join(format!("{digest}.safetensors"))
    }

    pub fn snapshot(&self, digest: &str) -> PathBuf {
        self.path.join("snapshots").join(format!("{digest}.safetensors"))
    }

    /// Removes files that nobody names any more, and unfinished ones.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn sweep(&self, probes: &HashSet<String>, snapshots: &HashSet<String>) -> io::Result<()> {
        for (folder, named) in [("probes", probes), ("snapshots", snapshots)] {
            for entry in fs::read_dir(self.path.join(folder))? {
                let entry = entry?;
                let name = entry.file_name();
                let stem = name.to_str().and_then(|name| name.strip_suffix(".safetensors"));
                if !stem.is_some_and(|digest| named.contains(digest)) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

fn occupied(path: &Path, lock: &mut File) -> Fault {
    let mut holder = String::new();
    let told = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let holder = if told { format!("process {}", holder.trim()) } else { "another process".into() };
    let description = format!("{}: {holder} works there, and only one daemon can", path.display());
    Fault::field(FaultKind::Exists, "data", description)
}
