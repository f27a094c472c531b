//! What is lost, damaged or foreign is forgotten and said, and never believed.

use std::path::PathBuf;

use super::*;

/// An index with runs of two levels and a tail; returns the ids in it.
fn full(dir: &Path) -> (DedupIndex, Vec<String>) {
    let mut index = open(dir, 80_000, 0);
    index.tail_max = 100;
    let ids: Vec<String> = (0..1_050).map(|n| format!("id-{n}")).collect();
    for ids in ids.chunks(50) {
        let ids: Vec<_> = ids.iter().map(|id| (id.as_str(), 5)).collect();
        mark(&mut index, &ids);
        settled(&index);
    }
    (index, ids)
}

fn runs(dir: &Path) -> Vec<PathBuf> {
    files(dir).unwrap().into_iter().filter(|path| path.extension().is_some_and(|it| it == "run")).collect()
}

/// Of the ids, those that are known.
fn known(index: &mut DedupIndex, ids: &[String]) -> usize {
    let sightings: Vec<_> = ids.iter().map(|id| sighting(id, 5)).collect();
    index.look(&sightings).unwrap().is_duplicate.iter().filter(|seen| **seen).count()
}

#[test]
fn it_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ids) = full(dir.path());
    drop(index);
    assert!(runs(dir.path()).len() < 10, "runs are merged");
    let mut index = open(dir.path(), 80_000, 1_050);
    assert_eq!((index.known_to(), known(&mut index, &ids)), (1_050, 1_050));
}

#[test]
fn it_never_knows_more_than_the_state() {
    for refined_to in [0, 1, 50, 449, 1_000, 1_049] {
        let dir = tempfile::tempdir().unwrap();
        let (index, ids) = full(dir.path());
        drop(index);
        let mut index = open(dir.path(), 80_000, refined_to);
        let known_to = index.known_to();
        assert!(known_to <= refined_to, "{known_to} of {refined_to}");
        assert_eq!(known(&mut index, &ids) as u64, known_to);
    }
}

#[test]
fn another_key_makes_another_index() {
    let dir = tempfile::tempdir().unwrap();
    drop(full(dir.path()));
    let index = DedupIndex::open(dir.path(), IdKey([8; 16]), settings(80_000), 1_050).unwrap();
    assert_eq!((index.known_to(), index.len(), runs(dir.path()).len()), (0, 0, 0));
}

#[test]
fn a_lost_file_takes_what_follows_it_with_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(full(dir.path()));
    for path in files(dir.path()).unwrap() {
        let copy = tempfile::tempdir().unwrap();
        for other in files(dir.path()).unwrap().iter().filter(|other| **other != path) {
            std::fs::copy(other, copy.path().join(other.file_name().unwrap())).unwrap();
        }
        let ids: Vec<String> = (0..1_050).map(|n| format!("id-{n}")).collect();
        let mut index = open(copy.path(), 80_000, 1_050);
        assert!(index.known_to() < 1_050, "{}", path.display());
        assert_eq!(known(&mut index, &ids) as u64, index.known_to(), "{}", path.display());
    }
}

#[test]
fn every_flipped_byte_is_found_or_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ids) = full(dir.path());
    drop(index);
    let names = files(dir.path()).unwrap();
    for path in &names {
        let whole = std::fs::read(path).unwrap();
        let step = (whole.len() / 150).max(1);
        for at in (0..whole.len()).step_by(step) {
            let copy = tempfile::tempdir().unwrap();
            for other in &names {
                std::fs::copy(other, copy.path().join(other.file_name().unwrap())).unwrap();
            }
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
            let opened = DedupIndex::open(copy.path(), KEY, settings(80_000), 1_050);
            // A format number from the future is refused; a preamble with a wrong sum is damage.
            let mut index = opened.unwrap();
            let (below, above) = ids.split_at(index.known_to() as usize);
            for (ids, is_known) in [(below, true), (above, false)] {
                let looked = index.look(&ids.iter().map(|id| sighting(id, 5)).collect::<Vec<_>>());
                match looked {
                    Ok(looked) => assert!(looked.is_duplicate.iter().all(|seen| *seen == is_known), "{at}"),
                    Err(error) => assert!(matches!(error, DedupError::Damaged { .. }), "{error}"),
                }
            }
        }
    }
}

#[test]
fn a_newer_format_is_refused_and_nothing_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(full(dir.path()));
    let path = runs(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let before = files(dir.path()).unwrap();
    let opened = DedupIndex::open(dir.path(), KEY, settings(80_000), 1_050);
    assert!(matches!(opened.err().unwrap(), DedupError::Newer { found: 2, .. }));
    assert_eq!(files(dir.path()).unwrap(), before);
}

#[test]
fn what_was_before_a_damaged_run_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, ids) = full(dir.path());
    let newest = runs(dir.path()).pop().unwrap();
    index.forget_from(&newest, 1_050).unwrap();
    let known_to = index.known_to();
    assert!(0 < known_to && known_to < 1_050, "{known_to}");
    assert_eq!(known(&mut index, &ids) as u64, known_to);
    // Damage of no run: nothing is believed.
    index.forget_from(dir.path(), 1_050).unwrap();
    assert_eq!((index.known_to(), known(&mut index, &ids)), (0, 0));
    assert_eq!(mark(&mut index, &[("id-1", 5), ("id-1", 5)]), [false, true]);
}

#[test]
fn a_file_that_cannot_be_opened_for_another_reason_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    drop(full(dir.path()));
    for file in files(dir.path()).unwrap() {
        // A link to itself in its place: opening it fails, and that says nothing about the file.
        let away = dir.path().join("away");
        std::fs::rename(&file, &away).unwrap();
        std::os::unix::fs::symlink(&file, &file).unwrap();
        let before = files(dir.path()).unwrap();
        let opened = DedupIndex::open(dir.path(), KEY, settings(80_000), 1_050);
        assert!(matches!(opened, Err(DedupError::Io { .. })), "{}", file.display());
        assert_eq!(files(dir.path()).unwrap(), before, "{}", file.display());
        std::fs::rename(&away, &file).unwrap();
    }
    assert_eq!(open(dir.path(), 80_000, 1_050).known_to(), 1_050);
}

#[test]
fn what_an_earlier_build_kept_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut import = Import::begin(dir.path(), KEY).unwrap();
    let hash = |id: &str| KEY.hash(&sighting(id, 0));
    let mut marks = |ids: &[(&str, i64)], refined_to| {
        let mut marks: Vec<_> = ids.iter().map(|(id, at)| IdMark { hash: hash(id), received_at_us: *at }).collect();
        marks.sort_by_key(|mark| mark.hash);
        import.add(marks.into_iter(), ids.len() as u64, 0, refined_to).unwrap();
    };
    marks(&[("a", 1), ("b", 2)], 0);
    marks(&[("b", 24 * HOUR_US + 3), ("c", 24 * HOUR_US)], 9);
    import.finish().unwrap();
    let mut index = open(dir.path(), 80_000, 9);
    assert_eq!(index.known_to(), 9);
    let seen = mark(&mut index, &[("a", 24 * HOUR_US + 1), ("b", 48 * HOUR_US + 3), ("b", 48 * HOUR_US + 4), ("d", 0)]);
    assert_eq!(seen, [true, true, false, false]);
}

#[test]
fn all_of_it_can_be_verified() {
    let dir = tempfile::tempdir().unwrap();
    assert!(verify(&dir.path().join("none")).unwrap().is_none());
    let (index, _) = full(dir.path());
    let found = verify(dir.path()).unwrap().unwrap();
    assert!(found.damage.is_empty() && found.runs > 1 && found.marks >= 1_000 && found.bytes > 22_000);
    drop(index);
    let path = runs(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = verify(dir.path()).unwrap().unwrap();
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.damage[0].0, path);
}
