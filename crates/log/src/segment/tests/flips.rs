//! One flipped bit anywhere: nothing that was answered for is lost in silence, nothing is altered, nobody panics.

use super::ledger::{House, Ledger, filled};
use super::memory::Memory;
use super::power::seeds;
use crate::segment::Severity;
use crate::segment::file::{self, DATA_AT};
use crate::segment::frame::MARK_BYTES;

/// Flips a bit of a file and opens the log.
fn flipped(memory: &Memory, name: &str, at: usize, bit: u8) -> Memory {
    let hurt = memory.killed();
    let mut bytes = hurt.bytes(name);
    bytes[at] ^= 1 << bit;
    hurt.put(name, bytes);
    hurt
}

/// Offsets that are lost when a log is opened and read.
fn lost(memory: &Memory, ledger: &Ledger, what: &str) -> Vec<u64> {
    let house = House::open(memory, 2000, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (records, damage) = house.check(ledger, what);
    let report = crate::segment::inspect::verify_in(&memory.home()).unwrap();
    assert_eq!(report.records as usize, records.len(), "{what}: {report:?}");
    assert_eq!(report.damaged.len(), damage.len(), "{what}: {report:?}");
    damage.into_iter().flat_map(|damage| damage.missing).collect()
}

#[test]
fn every_flipped_bit_costs_at_most_its_own_record_or_group_and_is_reported() {
    let (memory, ledger) = filled(2000, 22);
    let whole = lost(&memory.killed(), &ledger, "whole");
    assert!(whole.is_empty());
    let names: Vec<String> = memory.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert!(names.len() > 1);
    let bits: &[u8] = if seeds(0).is_empty() { &[6] } else { &[0, 1, 2, 3, 4, 5, 6, 7] };
    let mut records_hit = 0;
    for name in &names {
        let bytes = memory.bytes(name);
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in 0..(used + 8).min(bytes.len()) {
            for bit in bits {
                let what = format!("{name}, byte {at}, bit {bit}");
                let lost = lost(&flipped(&memory, name, at, *bit), &ledger, &what);
                assert!(lost.len() <= 3, "{what}: {lost:?}");
                assert!(at >= DATA_AT as usize || lost.is_empty(), "{what}: {lost:?}");
                records_hit += lost.len();
            }
        }
    }
    assert!(records_hit > 500);
}

#[test]
fn one_flipped_bit_in_the_last_record_that_was_answered_for_is_damage_and_no_torn_write() {
    let (memory, ledger) = filled(100_000, 9);
    let name = file::name(0);
    let end = memory.bytes(&name).iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let hurt = flipped(&memory, &name, end - MARK_BYTES - 1, 3);
    let house = House::open(&hurt, 100_000, 0).unwrap();
    assert_eq!((house.recovery.torn_bytes, house.recovery.damaged), (0, 1));
    let (records, damage) = house.check(&ledger, "the last record");
    let last = *ledger.acked.keys().next_back().unwrap();
    assert_eq!(damage.iter().map(|damage| damage.missing.clone()).collect::<Vec<_>>(), [last..last + 1]);
    assert_eq!(records.len() as u64, last);
    assert_eq!(house.log.committed(), last + 1);
}

#[test]
fn a_flipped_bit_in_each_block_of_a_large_log_costs_at_most_one_group() {
    let (memory, ledger) = filled(40_000, 400);
    for name in memory.names().into_iter().filter(|name| name.ends_with(".log")) {
        for block in 0..memory.bytes(&name).len() / 4096 {
            let (at, what) = (block * 4096 + block * 37 % 4096, format!("{name}, block {block}"));
            assert!(lost(&flipped(&memory, &name, at, 1), &ledger, &what).len() <= 3, "{what}");
        }
    }
}

#[test]
fn both_headers_gone_cost_no_record_and_never_the_start() {
    let (memory, ledger) = filled(2000, 22);
    let names: Vec<String> = memory.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    for name in &names {
        let hurt = memory.killed();
        let mut bytes = hurt.bytes(name);
        bytes[..DATA_AT as usize].fill(0);
        hurt.put(name, bytes);
        let house = House::open(&hurt, 2000, 0).unwrap();
        assert!(house.recovery.notes.iter().any(|note| note.text.contains(name.as_str())), "{name}");
        let (_, damage) = house.check(&ledger, name);
        assert!(damage.is_empty(), "{name}: {damage:?}");
    }
}

#[test]
fn a_damaged_manifest_is_made_anew_and_said() {
    let (memory, ledger) = filled(2000, 22);
    for at in 0..memory.bytes("manifest").len() {
        let hurt = flipped(&memory, "manifest", at, 2);
        let house = House::open(&hurt, 2000, 0).unwrap();
        let said = &house.recovery.notes[0];
        assert!(said.severity == Severity::Error && said.text.contains("manifest is damaged"), "{said:?}");
        let (_, damage) = house.check(&ledger, &format!("manifest, byte {at}"));
        assert!(damage.is_empty());
        drop(house);
        assert!(House::open(&hurt, 2000, 0).unwrap().recovery.notes.is_empty());
    }
    memory.delete("manifest");
    let house = House::open(&memory, 2000, 0).unwrap();
    assert!(house.recovery.notes[0].text.contains("manifest is missing"));
    house.check(&ledger, "no manifest");
}

#[test]
fn one_damaged_copy_of_the_key_is_mended_and_two_refuse_the_start_unchanged() {
    let (memory, ledger) = filled(2000, 22);
    for name in ["key", "key.copy"] {
        for at in 0..memory.bytes(name).len() {
            let hurt = flipped(&memory, name, at, 5);
            let house = House::open(&hurt, 2000, 0).unwrap_or_else(|error| panic!("{name}, byte {at}: {error}"));
            assert!(house.recovery.notes[0].text.contains("made again from the other"), "{name}, byte {at}");
            house.check(&ledger, name);
            assert!(hurt.bytes(name) == memory.bytes(name), "{name}, byte {at}");
        }
    }
    let hurt = flipped(&flipped(&memory, "key", 20, 0), "key.copy", 20, 0);
    let before: Vec<_> = hurt.names().into_iter().map(|name| (hurt.bytes(&name), name)).collect();
    let error = House::open(&hurt, 2000, 0).err().unwrap().to_string();
    assert!(error.contains("key.copy are both missing or damaged") && error.contains("restore"), "{error}");
    assert!(before.iter().all(|(bytes, name)| hurt.bytes(name) == *bytes));
    let other = flipped(&memory, "key", 20, 0);
    let mut key = other.bytes("key");
    let sum = crc32c::crc32c(&key[..48]).to_le_bytes();
    key[48..].copy_from_slice(&sum);
    other.put("key", key);
    let error = House::open(&other, 2000, 0).err().unwrap().to_string();
    assert!(error.contains("different keys"), "{error}");
}
