//! Logs of the first format, with bytes as the builds before this one wrote them.

use super::ledger::{House, Ledger, check, settings};
use super::memory::{Injected, Memory};
use crate::segment::first_format::{FRAME_HEADER_BYTES, FRAME_MAGIC, HEADER_BYTES, MAGIC};
use crate::segment::inspect::verify_in;
use crate::segment::{LogError, SegmentLog, Severity, file};

/// A segment as the first format had it.
fn old_segment(base: u64, records: &[(u64, Vec<u8>)], zeros: usize) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&77_i64.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES);
    for (offset, payload) in records {
        let start = bytes.len();
        bytes.extend_from_slice(FRAME_MAGIC);
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let sum = crc32c::crc32c(&bytes[start..]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}

fn records(range: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
    range
        .map(|n| (n, format!("record {n} {}", "o".repeat(usize::try_from(n * 13 % 400).unwrap())).into_bytes()))
        .collect()
}

/// Three segments; numbers were skipped at a restart within the second, and the third is the newest.
fn old_log() -> (Memory, Ledger) {
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    let mut second = records(300..400);
    second.extend(records(450..500));
    for (base, records, zeros) in [(0, records(0..300), 0), (300, second, 0), (500, records(500..520), 3000)] {
        memory.put(&file::name(base), old_segment(base, &records, zeros));
        ledger.acked.extend(records);
    }
    (memory, ledger)
}

#[test]
fn a_log_of_the_first_format_is_carried_over_whole() {
    let (memory, mut ledger) = old_log();
    let before = crate::segment::inspect::inspect(&memory.home()).unwrap();
    assert_eq!(before.end.next, 520);
    let mut house = House::open(&memory, 4000, 0).unwrap();
    assert_eq!((house.recovery.carried, house.recovery.next, house.recovery.notes.len()), (3, 520, 0));
    let (_, damage) = house.check(&ledger, "carried over");
    assert!(damage.is_empty(), "{damage:?}");
    for from in [0, 1, 299, 399, 400, 449, 450, 519] {
        assert_eq!(house.read(from).unwrap().0.len(), ledger.acked.range(from..).count(), "from {from}");
    }
    assert_eq!(house.append(&mut ledger, &[3]), [Ok(520)]);
    drop(house);
    let house = House::open(&memory, 4000, 0).unwrap();
    assert_eq!((house.recovery.carried, house.recovery.notes.len()), (0, 0));
    house.check(&ledger, "opened again");
    assert!(verify_in(&memory.home()).unwrap().is_whole());
}

#[test]
fn carrying_over_goes_on_where_it_was_stopped() {
    let operations = {
        let (memory, _) = old_log();
        House::open(&memory, 4000, 0).unwrap();
        memory.ops()
    };
    for at in 0..operations {
        for seed in 0..2 {
            let (memory, ledger) = old_log();
            memory.fail(at, Injected::Death);
            assert!(House::open(&memory, 4000, 0).is_err());
            let left = if seed == 0 { memory.killed() } else { memory.cut(&mut super::memory::Dice::new(at)) };
            let house = House::open(&left, 4000, 0).unwrap_or_else(|error| panic!("dead at {at}: {error}"));
            let (_, damage) = house.check(&ledger, &format!("dead at {at}"));
            assert!(damage.is_empty() && house.recovery.notes.is_empty(), "{at}: {:?}", house.recovery.notes);
        }
    }
}

#[test]
fn damage_of_the_first_format_stays_damage() {
    let (whole, known) = old_log();
    // A payload, a header, a whole segment, the end of a sealed one.
    let hurt = |change: &dyn Fn(&Memory)| {
        let memory = whole.killed();
        change(&memory);
        let house = House::open(&memory, 4000, 0).unwrap();
        let (records, damage) = house.check(&known, "damaged before");
        check(&known, 0, &records, &damage, "damaged before");
        damage.into_iter().map(|damage| damage.missing).collect::<Vec<_>>()
    };
    let flip = |memory: &Memory, base: u64, at: usize| {
        let mut bytes = memory.bytes(&file::name(base));
        bytes[at] ^= 4;
        memory.put(&file::name(base), bytes);
    };
    assert_eq!(hurt(&|memory| flip(memory, 0, HEADER_BYTES + FRAME_HEADER_BYTES + 2)), [0..1]);
    assert_eq!(hurt(&|memory| flip(memory, 300, HEADER_BYTES + 9)), [300..301]);
    assert_eq!(hurt(&|memory| flip(memory, 0, 20)), [] as [std::ops::Range<u64>; 0]);
    assert_eq!(hurt(&|memory| memory.delete(&file::name(300))), [300..500]);
    let last = |memory: &Memory| {
        let mut bytes = memory.bytes(&file::name(0));
        bytes.truncate(bytes.len() - 3);
        memory.put(&file::name(0), bytes);
    };
    assert_eq!(hurt(&last), [299..300]);
}

#[test]
fn a_frame_of_the_first_format_inside_an_event_forges_nothing() {
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    let forged = old_segment(0, &[((1 << 63) + 5, b"forged".to_vec()), (90, b"forged".to_vec())], 0);
    let mut all = records(0..5);
    all[2].1 = forged[HEADER_BYTES..].to_vec();
    let mut bytes = old_segment(0, &all, 100);
    let at = HEADER_BYTES + all[..2].iter().map(|(_, p)| FRAME_HEADER_BYTES + p.len()).sum::<usize>();
    bytes[at + 20] ^= 1;
    memory.put(&file::name(0), bytes);
    ledger.acked.extend(all);
    let house = House::open(&memory, 4000, 0).unwrap();
    let (records, damage) = house.check(&ledger, "forged");
    assert_eq!((records.len(), damage.len(), damage[0].missing.clone()), (4, 1, 2..3));
}

#[test]
fn a_file_of_a_newer_build_is_refused_by_name_and_nothing_is_changed() {
    use crate::segment::preamble;
    for (name, magic, format) in
        [(file::name(0), b"TIDELOG2", 3), ("manifest".to_owned(), b"TIDEMANI", 2), ("key".to_owned(), b"TIDELKEY", 2)]
    {
        let (memory, _) = super::ledger::filled(2000, 20);
        let mut bytes = memory.bytes(&name);
        bytes[..preamble::BYTES].copy_from_slice(&preamble::write(magic, format));
        memory.put(&name, bytes);
        memory.put("manifest.tmp", b"left over".to_vec());
        let before: Vec<_> = memory.names().into_iter().map(|name| (memory.bytes(&name), name)).collect();
        let error = SegmentLog::open_in(memory.home(), settings(2000), 0, 1).err().unwrap();
        assert!(matches!(error, LogError::Newer { .. }), "{error}");
        assert!(error.to_string().contains(&name) && error.to_string().contains("newer build"), "{error}");
        assert_eq!(memory.names().len(), before.len());
        assert!(before.iter().all(|(bytes, name)| memory.bytes(name) == *bytes), "{name}");
    }
    let (memory, _) = super::ledger::filled(2000, 20);
    let house = House::open(&memory, 2000, 0).unwrap();
    assert!(house.recovery.notes.iter().all(|note| note.severity == Severity::Info));
}
