//! Segments that are missing, cut short, or somebody else's.

use super::ledger::{House, Ledger, filled};
use super::memory::Memory;
use crate::segment::file::{self, DATA_AT};
use crate::segment::inspect::verify_in;
use crate::segment::{LogDamage, Severity};

fn segments(memory: &Memory) -> Vec<String> {
    memory.names().into_iter().filter(|name| name.ends_with(".log")).collect()
}

fn base(name: &str) -> u64 {
    name.trim_end_matches(".log").parse().unwrap()
}

/// Opens a hurt log twice, goes on writing, and answers what the reader reported; both times an error is said.
fn hurt(memory: &Memory, ledger: &mut Ledger, what: &str) -> Vec<LogDamage> {
    let report = verify_in(&memory.home()).unwrap();
    assert!(!report.is_whole(), "{what}: verify says that all is well");
    let mut house = House::open(memory, 2000, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = &house.recovery.notes;
    assert!(said.iter().any(|note| note.severity == Severity::Error), "{what}: {said:?}");
    house.check(ledger, what);
    for _ in 0..8 {
        assert!(house.append(ledger, &[2])[0].is_ok(), "{what}");
    }
    drop(house);
    let house = House::open(memory, 2000, 0).unwrap();
    house.check(ledger, what).1
}

#[test]
fn a_segment_that_is_missing_is_said_and_reported_with_its_bounds() {
    for manifest in [true, false] {
        let (whole, known) = filled(2000, 60);
        let names = segments(&whole);
        assert!(names.len() >= 4, "{names:?}");
        for (at, name) in names.iter().enumerate() {
            let (memory, mut ledger) = (whole.killed(), known.clone());
            memory.delete(name);
            let end = names.get(at + 1).map_or(known.acked.len() as u64, |next| base(next));
            if !manifest {
                // Without the manifest only a hole between two segments can be seen.
                memory.delete("manifest");
                if at == 0 || at + 1 == names.len() {
                    continue;
                }
            }
            let damage = hurt(&memory, &mut ledger, &format!("{name} is missing, manifest {manifest}"));
            assert_eq!(damage.len(), 1, "{name}: {damage:?}");
            assert_eq!((damage[0].missing.start, damage[0].length), (base(name), 0), "{name}");
            if at + 1 < names.len() {
                assert_eq!(damage[0].missing.end, end, "{name}");
            }
            // Back from a backup: all is well again.
            memory.put(name, whole.bytes(name));
            if at + 1 < names.len() {
                let (_, damage) = House::open(&memory, 2000, 0).unwrap().check(&ledger, "back again");
                assert!(damage.is_empty());
            }
        }
    }
}

#[test]
fn another_segments_file_is_not_taken_for_this_one() {
    let (whole, known) = filled(2000, 60);
    let names = segments(&whole);
    for (at, name) in names.iter().enumerate() {
        let (memory, mut ledger) = (whole.killed(), known.clone());
        let other = &names[(at + 1) % names.len()];
        memory.put(name, whole.bytes(other));
        let damage = hurt(&memory, &mut ledger, &format!("{other} lies under the name {name}"));
        assert_eq!(damage.len(), 1, "{name}: {damage:?}");
        assert_eq!(damage[0].missing.start, base(name), "{name}");
    }
}

#[test]
fn a_segment_that_was_cut_short_loses_what_was_cut_and_says_so() {
    let (whole, known) = filled(2000, 40);
    let names = segments(&whole);
    for name in &names {
        let bytes = whole.bytes(name);
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for len in [0, 100, DATA_AT as usize, DATA_AT as usize + 3, used / 2 + 2400, used - 40] {
            let (memory, mut ledger) = (whole.killed(), known.clone());
            memory.put(name, bytes[..len].to_vec());
            let damage = hurt(&memory, &mut ledger, &format!("{name} has only {len} bytes"));
            assert!(!damage.is_empty(), "{name}, {len}");
        }
    }
}

#[test]
fn a_file_that_is_no_segment_is_moved_out_of_the_way() {
    let (memory, mut ledger) = filled(2000, 20);
    let next = ledger.acked.len() as u64;
    memory.put(&file::name(next + 1), vec![b'?'; 6000]);
    let mut house = House::open(&memory, 2000, 0).unwrap();
    let said = &house.recovery.notes;
    assert!(said.iter().any(|note| note.text.contains("renamed to foreign-")), "{said:?}");
    for _ in 0..20 {
        assert!(house.append(&mut ledger, &[1])[0].is_ok());
    }
    let (_, damage) = house.check(&ledger, "a foreign file");
    assert!(damage.is_empty());
}

#[test]
fn numbers_that_a_restart_skips_are_no_loss() {
    let (memory, mut ledger) = filled(2000, 10);
    let end = ledger.acked.len() as u64;
    let mut house = House::open(&memory, 2000, end + 500).unwrap();
    assert!(house.recovery.notes[0].text.contains("was read from it before"), "{:?}", house.recovery.notes);
    assert_eq!(house.append(&mut ledger, &[2]), [Ok(end + 500)]);
    drop(house);
    for _ in 0..2 {
        let house = House::open(&memory, 2000, end + 501).unwrap();
        assert!(house.recovery.notes.is_empty(), "{:?}", house.recovery.notes);
        let (records, damage) = house.check(&ledger, "skipped");
        assert_eq!((records.len() as u64, damage.len()), (end + 2, 0));
        for from in [0, end - 1, end, end + 7, end + 500, end + 501] {
            let (records, damage) = house.read(from).unwrap();
            let want = ledger.acked.range(from..).count();
            assert_eq!((records.len(), damage.len()), (want, 0), "from {from}");
        }
    }
    assert!(verify_in(&memory.home()).unwrap().is_whole());
}
