//! A copy of a log that is written meanwhile is a log of one moment.

use tidegate_process::held_file::HeldFile;

use super::*;

/// Writes what was held into a folder.
fn put(files: &[HeldFile], dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for held in files {
        let mut bytes = vec![0; usize::try_from(held.length()).unwrap()];
        let mut at = 0;
        while at < bytes.len() {
            at += held.read_at(&mut bytes[at..], at as u64).unwrap();
        }
        std::fs::write(dir.join(&held.name), bytes).unwrap();
    }
}

#[test]
fn a_copy_has_what_was_answered_for_and_opens_without_a_word() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let house = open(dir.path(), 2_000, 0);
    let payload = [7_u8; 300];
    for _ in 0..10 {
        house.append(&[&payload, b"short"]).unwrap();
    }
    let (wanted, damage) = house.read(0);
    assert!(damage.is_empty() && house.log.sealed().len() > 1, "{:?}", house.log.sealed());
    let held = hold(dir.path()).unwrap();
    // What comes later is not in it, and what goes later is.
    for _ in 0..10 {
        house.append(&[&payload]).unwrap();
    }
    assert!(house.log.trim(20, i64::MAX).unwrap().segments > 0);
    assert_eq!((held.oldest, held.end), (0, 20));
    assert!(held.notes.is_empty(), "{:?}", held.notes);
    put(&held.files, to.path());
    assert!(verify(to.path()).unwrap().is_whole());
    let copy = open(to.path(), 2_000, 0);
    assert_eq!((copy.recovery.notes.len(), copy.recovery.torn_bytes), (0, 0), "{:?}", copy.recovery.notes);
    assert_eq!(copy.read(0), (wanted, Vec::new()));
    // It goes on.
    assert_eq!(copy.append(&[b"next"]).unwrap(), 20);
}

#[test]
fn a_log_without_records_is_held_too() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(hold(&dir.path().join("none")).unwrap().files.is_empty());
    let house = open(dir.path(), 2_000, 0);
    let held = hold(dir.path()).unwrap();
    assert_eq!((held.oldest, held.end), (0, 0));
    put(&held.files, to.path());
    let copy = open(to.path(), 2_000, 0);
    assert!(copy.recovery.notes.is_empty(), "{:?}", copy.recovery.notes);
    assert_eq!(copy.append(&[b"first"]).unwrap(), 0);
    drop(house);
}
