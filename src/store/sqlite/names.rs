//! What things are called in the directory of a history: only what has such a name is ever changed there.
//!
//! Owns: these names. May not touch: the files.

use clino_domain::id::is_digest;

/// Name of the database in the directory.
pub const DATABASE: &str = "history.db";
/// Held by the daemon that works there; says its number.
pub(super) const LOCK: &str = "lock";
/// Says that the directory is clino's.
pub(super) const MARK: &str = "clino.json";
/// The same while it is written.
pub(super) const UNFINISHED_MARK: &str = "clino.json.unfinished";
/// Directories of files of tensors.
pub(super) const ROOMS: [&str; 2] = ["probes", "snapshots"];
/// What a database has beside it.
pub(super) const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// What a database that was put aside begins with; seconds and milliseconds follow.
const ASIDE: &str = "history.db.corrupt-";
/// Ends of files of tensors: whole, and while they are written.
const WHOLE: &str = ".safetensors";
const UNFINISHED: &str = ".unfinished";

/// What a damaged database is called from now on.
pub(super) fn aside(seconds: u64, milliseconds: u32) -> String {
    format!("{ASIDE}{seconds}-{milliseconds:03}")
}

/// Name of a whole file of tensors.
pub(super) fn whole(digest: &str) -> String {
    format!("{digest}{WHOLE}")
}

/// Name of one that is being written.
pub(super) fn unfinished(digest: &str) -> String {
    format!("{digest}{UNFINISHED}")
}

/// Whether clino gives such a name to a file of tensors.
pub(super) fn is_tensors(name: &str) -> bool {
    [WHOLE, UNFINISHED].iter().any(|end| name.strip_suffix(end).is_some_and(is_digest))
}

/// Whether clino gives such a name to a whole file of tensors.
pub(super) fn is_whole(name: &str) -> bool {
    name.strip_suffix(WHOLE).is_some_and(is_digest)
}

/// Whether clino gives such a name to a file of the directory itself.
pub(super) fn is_file_of_the_folder(name: &str) -> bool {
    let of_database = |stem: &str| stem == DATABASE || is_aside(stem);
    let beside = || BESIDE.iter().any(|end| name.strip_suffix(end).is_some_and(of_database));
    [LOCK, MARK, UNFINISHED_MARK].contains(&name) || beside()
}

/// Whether clino gives such a name to anything in the directory.
pub(super) fn is_of_the_folder(name: &str) -> bool {
    ROOMS.contains(&name) || is_file_of_the_folder(name)
}

fn is_aside(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.strip_prefix(ASIDE).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(seconds, milliseconds)| digits(seconds) && digits(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_clino_gives_are_its_own() {
        let digest = "0123456789abcdef".repeat(4);
        for own in [whole(&digest), unfinished(&digest)] {
            assert!(is_tensors(&own), "{own}");
        }
        let upper = digest.to_uppercase();
        for foreign in
            ["step-100.safetensors", "optimizer.pt", ".unfinished", &digest, &whole(&upper), &whole("ab")]
        {
            assert!(!is_tensors(foreign), "{foreign}");
        }
        for own in ["lock", "history.db", "history.db-wal", "history.db-shm", "history.db-journal", "probes"]
        {
            assert!(is_of_the_folder(own), "{own}");
        }
        assert!(is_of_the_folder(&aside(1_700_000_000, 7)));
        assert!(is_of_the_folder(&format!("{}-wal", aside(1_700_000_000, 7))));
        for foreign in ["history.db.bak", "history.db.corrupt-", "history.db.corrupt-1", "lock2", "-wal", ""]
        {
            assert!(!is_of_the_folder(foreign), "{foreign}");
        }
    }
}
