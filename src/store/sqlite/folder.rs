//! The directory of a history: its lock, its kind of file system, and the files of tensors in it.
//!
//! Owns: what is made, renamed and removed in the directory, all of it for this user alone. May not touch: rows; anything
//! that clino did not make, and what links point at.

use super::mark;
use super::names::{self, BESIDE, DATABASE, LOCK, ROOMS};
use super::notes::Notes;
use super::private::{create_new, make};
use clino_domain::id::is_digest;
use clino_domain::incident::Incident;
use clino_domain::{Fault, FaultKind};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, statfs};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Magic numbers of file systems that a network is behind: NFS, SMB, CIFS, SMB2, 9P.
const NETWORKS: [u64; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];
/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// A directory that is ours until this drops.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Whether processes on one machine share memory there, as WAL asks for.
    pub local: bool,
    /// What goes wrong here.
    pub notes: Notes,
    _lock: File,
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Fault + '_ {
    |error| Fault::invalid("data", format!("{}: {error}", path.display()))
}

impl Folder {
    /// Makes the directory where it is missing, locks it, and takes away what others could do with what is in it.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when another daemon has it, [`FaultKind::Invalid`] when it cannot be used or holds something
    /// else than a history, [`FaultKind::Precondition`] when a newer clino has made it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let unusable = unusable(path);
        make(path).map_err(&unusable)?;
        mark::admit(path)?;
        let lock = lock(path)?;
        // Whoever had it until now may have made something else of it.
        mark::admit(path)?;
        mark::write(path).map_err(&unusable)?;
        for room in ROOMS {
            make(&path.join(room)).map_err(&unusable)?;
        }
        let notes = Notes::default();
        mend(path, &notes)?;
        let kind = statfs(path).map_err(|error| unusable(error.into()))?.f_type as u64 & 0xffff_ffff;
        Ok(Self { path: path.to_owned(), local: !NETWORKS.contains(&kind), notes, _lock: lock })
    }

    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes the file of a database where there is none: SQLite would make it as the umask wants it, and its log and index
    /// like it.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn make_database(&self) -> io::Result<()> {
        match create_new(&self.database()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts a damaged database aside, with what belongs to it; tells its new name.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when it cannot be renamed.
    pub fn quarantine(&self) -> Result<String, Fault> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let free = |seconds: &u64| {
            let name = names::aside(*seconds, since.subsec_millis());
            BESIDE.iter().all(|end| fs::symlink_metadata(self.path.join(format!("{name}{end}"))).is_err())
        };
        let seconds = (since.as_secs()..).find(free).unwrap_or_default();
        let name = names::aside(seconds, since.subsec_millis());
        for end in BESIDE {
            let from = self.path.join(format!("{DATABASE}{end}"));
            if fs::symlink_metadata(&from).is_ok() {
                fs::rename(from, self.path.join(format!("{name}{end}"))).map_err(unusable(&self.path))?;
            }
        }
        Ok(name)
    }

    /// A file of tensors that an earlier database must have named, if there is one.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn some_tensors(&self) -> io::Result<Option<PathBuf>> {
        for room in ROOMS {
            for entry in fs::read_dir(self.path.join(room))? {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(names::is_whole) && entry.file_type()?.is_file() {
                    return Ok(Some(entry.path()));
                }
            }
        }
        Ok(None)
    }

    pub fn probe(&self, digest: &str) -> PathBuf {
        self.path.join(ROOMS[0]).join(names::whole(digest))
    }

    pub fn snapshot(&self, digest: &str) -> PathBuf {
        self.path.join(ROOMS[1]).join(names::whole(digest))
    }

    /// Removes a file of tensors that was written here and that nobody names any more, and what was left of an attempt to
    /// write it. Only regular files with the names that clino gives them, and only in the directory itself.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn remove(&self, room: &str, digest: &str) -> io::Result<()> {
        if !ROOMS.contains(&room) || !is_digest(digest) {
            return Ok(());
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.path.join(room), flags, Mode::empty())?;
        for name in [names::whole(digest), names::unfinished(digest)] {
            match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {
                    rustix::fs::unlinkat(&directory, &name, AtFlags::empty())?;
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Fault> {
    let unusable = unusable(path);
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let mut lock = options.open(path.join(LOCK)).map_err(&unusable)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(occupied(path, &mut lock)),
        Err(error) => return Err(unusable(error.into())),
    }
    lock.set_len(0).and_then(|()| lock.rewind()).map_err(&unusable)?;
    writeln!(lock, "{}", std::process::id()).map_err(&unusable)?;
    Ok(lock)
}

fn occupied(path: &Path, lock: &mut File) -> Fault {
    let mut holder = String::new();
    let told = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let holder = if told { format!("process {}", holder.trim()) } else { "another process".into() };
    let description = format!("{}: in use by {holder}, and only one daemon can use it", path.display());
    Fault::field(FaultKind::Exists, "data", description)
}

/// Takes the rights of others from the directory and from what clino made in it; refuses links in their places.
fn mend(path: &Path, notes: &Notes) -> Result<(), Fault> {
    keep_private(path, notes)?;
    let own = |path: &Path, is_own: fn(&str) -> bool| -> Result<(), Fault> {
        for entry in fs::read_dir(path).map_err(unusable(path))? {
            let entry = entry.map_err(unusable(path))?;
            if entry.file_name().to_str().is_some_and(is_own) {
                refuse_link(&entry.path())?;
                keep_private(&entry.path(), notes)?;
            }
        }
        Ok(())
    };
    own(path, names::is_of_the_folder)?;
    ROOMS.iter().try_for_each(|room| own(&path.join(room), names::is_tensors))
}

fn refuse_link(path: &Path) -> Result<(), Fault> {
    let found = fs::symlink_metadata(path).map_err(unusable(path))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fits = if ROOMS.contains(&name) { found.is_dir() } else { found.is_file() };
    match fits {
        true => Ok(()),
        false => {
            let expected = if ROOMS.contains(&name) { "a directory" } else { "a regular file" };
            let description = format!(
                "{}: found a link or something else, expected {expected}: links are not followed; move what it \
                points to here",
                path.display()
            );
            Err(Fault::invalid("data", description))
        }
    }
}

/// Without rights of others, where they can be taken: a directory of another owner, such as a volume that was mounted for a
/// group, keeps them.
fn keep_private(path: &Path, notes: &Notes) -> Result<(), Fault> {
    let mode = fs::metadata(path).map_err(unusable(path))?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => {
            tracing::info!(path = %path.display(), mode = format!("{mode:04o}"), "others could read it: not any more");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let code = notes.note(Incident::FilesExposed, &path.display().to_string());
            tracing::warn!(code, path = %path.display(), mode = format!("{mode:04o}"), %error, "others can read it");
            Ok(())
        }
        Err(error) => Err(unusable(path)(error)),
    }
}
