//! Whose files are touched in a directory, and which rows are set aside.
#![allow(clippy::unwrap_used)]

use super::folder::Folder;
use super::*;
use crate::store::fixtures::{StoreDriver, group, record};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Every path below a directory, with what is in the files.
fn tree(directory: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            found.push((path.clone(), kind.is_file().then(|| std::fs::read(&path).unwrap())));
            if kind.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The file of a probe.
fn probe(directory: &Path, digest: &str) -> PathBuf {
    directory.join("probes").join(format!("{}.safetensors", digest.repeat(32)))
}

/// A run with one snapshot, closed and measured, and with a probe of that digest.
fn over(driver: &mut StoreDriver, run: &RunId, digest: &str) {
    driver.open(RunRecord { groups: vec![group(digest)], ..record(run) });
    driver.measured(run, 1);
    driver.close(run);
}

/// A history with one run and the file of its probe.
async fn with_a_probe(directory: &Path) {
    let mut driver = StoreDriver::start(SqliteStore::open(directory, None).unwrap());
    over(&mut driver, &RunId("r".into()), "ab");
    driver.settled().await;
    driver.end();
    assert!(probe(directory, "ab").exists());
}

/// Opens a history that keeps no run that is over, and waits until another one has come and gone, and its file with it.
async fn tidied(directory: &Path) {
    let mut driver = StoreDriver::start(SqliteStore::open(directory, Some(Duration::ZERO)).unwrap());
    over(&mut driver, &RunId("later".into()), "ee");
    driver.settled().await;
    let file = probe(directory, "ee");
    let gone = async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    driver.end();
}

/// What was done to a path, in words and as it is done.
type Deed<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn row_51_a_directory_of_somebody_else_is_refused_and_left_alone() {
    let database = |directory: &Path| {
        let connection = Connection::open(directory.join("history.db")).unwrap();
        connection.execute_batch("CREATE TABLE urls (id); PRAGMA user_version = 2").unwrap();
    };
    let cases: [Deed<'_>; 7] = [
        ("snapshots", &|d| write(d.join("snapshots/step-100.safetensors"), "precious")),
        ("tensors with digests", &|d| write(d.join(format!("probes/{}.safetensors", "ab".repeat(32))), "x")),
        ("a database", &database),
        ("a file", &|d| write(d.join("notes.txt"), "precious")),
        ("a lock of another sort", &|d| write(d.join("lock"), "not a number")),
        ("a mark of another sort", &|d| write(d.join("clino.json"), "{}")),
        ("a link", &|d| std::os::unix::fs::symlink("/", d.join("probes")).unwrap()),
    ];
    for (name, fill) in cases {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path());
        let before = tree(directory.path());
        let fault = SqliteStore::open(directory.path(), None).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{name}: {fault}");
        assert!(fault.message.contains("choose "), "{name}: {fault}");
        assert_eq!(tree(directory.path()), before, "{name}");
    }
}

#[test]
fn row_51_an_empty_directory_and_a_fresh_disk_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    drop(SqliteStore::open(directory.path(), None).unwrap());
    // Between the lock and the mark another one was killed.
    std::fs::remove_file(directory.path().join("clino.json")).unwrap();
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(name));
    }
    for name in ["probes", "snapshots"] {
        std::fs::remove_dir(directory.path().join(name)).unwrap();
    }
    drop(SqliteStore::open(directory.path(), None).unwrap());
    // Whatever is put beside the mark later is not looked at.
    write(directory.path().join("notes.txt"), "precious");
    drop(SqliteStore::open(directory.path(), None).unwrap());
}

#[tokio::test]
async fn row_51_only_what_this_database_wrote_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    with_a_probe(directory.path()).await;
    let own = probe(directory.path(), "ab");
    let foreign = [
        directory.path().join("probes/en.safetensors"),
        directory.path().join("snapshots/optimizer.pt"),
        probe(directory.path(), "cd"),
        directory.path().join(format!("snapshots/{}.unfinished", "cd".repeat(32))),
    ];
    foreign.iter().for_each(|path| write(path.clone(), "precious"));
    tidied(directory.path()).await;
    assert!(!own.exists(), "its run was too old");
    assert!(foreign.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn row_51_a_link_in_the_place_of_a_file_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    with_a_probe(directory.path()).await;
    let name = format!("{}.safetensors", "ab".repeat(32));
    let precious = elsewhere.path().join(&name);
    let own = directory.path().join("probes").join(&name);
    std::fs::rename(&own, &precious).unwrap();
    std::os::unix::fs::symlink(&precious, &own).unwrap();
    let fault = SqliteStore::open(directory.path(), None).unwrap_err();
    assert!(fault.message.contains("links are not followed"), "{fault}");
    // Put there while it works: the link itself stays, too.
    let folder = directory.path().join("other");
    let folder = Folder::open(&folder).unwrap();
    let link = directory.path().join("other/probes").join(&name);
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    folder.remove("probes", &"ab".repeat(32)).unwrap();
    assert!(precious.exists() && link.symlink_metadata().is_ok());
}

#[tokio::test]
async fn row_51_nothing_is_removed_after_a_database_was_put_aside() {
    let damages: [Deed<'_>; 4] = [
        ("noise", &|path| std::fs::write(path, vec![0x55; 64 << 10]).unwrap()),
        ("0 bytes", &|path| std::fs::write(path, "").unwrap()),
        ("gone", &|path| std::fs::remove_file(path).unwrap()),
        ("a new one", &|path| {
            std::fs::remove_file(path).unwrap();
            Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 0; VACUUM").unwrap();
        }),
    ];
    for (name, damage) in damages {
        for marked in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            with_a_probe(directory.path()).await;
            let own = probe(directory.path(), "ab");
            if !marked {
                // As a version that made none left it.
                std::fs::remove_file(directory.path().join("clino.json")).unwrap();
            }
            damage(&directory.path().join(DATABASE));
            tidied(directory.path()).await;
            tidied(directory.path()).await;
            assert!(own.exists(), "{name}, marked: {marked}");
        }
    }
}

#[test]
fn row_59_a_directory_and_all_in_it_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("above/data");
    let open = || SqliteStore::open(&data, None).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    let names = ["lock", "clino.json", "history.db", "history.db-wal", "history.db-shm"];
    let check = || {
        for folder in ["", "probes", "snapshots"] {
            assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
        }
        for name in names {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
    };
    let history = open();
    check();
    let tensors = probe(&data, "ab");
    super::tensors::write_probe(&tensors, &[]).unwrap();
    assert_eq!(mode(&tensors), 0o600);
    // As an older version left it.
    for name in names.into_iter().map(|name| data.join(name)).chain([tensors.clone()]) {
        std::fs::set_permissions(name, PermissionsExt::from_mode(0o644)).unwrap();
    }
    for folder in ["", "probes", "snapshots"] {
        std::fs::set_permissions(data.join(folder), PermissionsExt::from_mode(0o755)).unwrap();
    }
    write(data.join("notes.txt"), "of somebody else");
    std::fs::set_permissions(data.join("notes.txt"), PermissionsExt::from_mode(0o644)).unwrap();
    drop(history);
    let _history = open();
    check();
    assert_eq!((mode(&tensors), mode(&data.join("notes.txt"))), (0o600, 0o644));
}
