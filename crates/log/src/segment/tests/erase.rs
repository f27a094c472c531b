//! Records are erased while the log is read and written: everything else stays as it is, whoever dies meanwhile.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::memory::{Dice, Injected, Memory};
use super::*;
use crate::{ErasedPart, Eraser, Erasing};

const ERASED: &[u8] = b"-";

/// Erases records by their offsets.
struct ByOffset(BTreeSet<u64>);

impl Eraser for ByOffset {
    fn record(&mut self, entry: &LogEntry) -> Erasing {
        if entry.own.starts_with(ERASED) {
            Erasing::IsErased
        } else if self.0.contains(&entry.offset) {
            Erasing::With(ERASED.to_vec())
        } else {
            Erasing::Stays
        }
    }

    fn shared(&mut self, shared: &[u8]) -> Option<Vec<u8>> {
        shared.starts_with(b"shared").then(Vec::new)
    }

    fn lost(&mut self, _: &[u8]) -> bool {
        false
    }
}

fn erase_all(log: &SegmentLog, offsets: &BTreeSet<u64>) -> Vec<ErasedPart> {
    let erase = |part: Range<u64>| Log::erase(log, part.start, &mut ByOffset(offsets.clone())).unwrap().unwrap();
    log.sealed().into_iter().map(erase).collect()
}

fn is_erased(own: &[u8]) -> bool {
    own.starts_with(ERASED)
}

/// What is read, the erased records as nothing.
fn left(records: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    records.into_iter().map(|(offset, own)| (offset, if is_erased(&own) { Vec::new() } else { own })).collect()
}

fn expected(to: u64, offsets: &BTreeSet<u64>) -> Vec<(u64, Vec<u8>)> {
    (0..to).map(|n| (n, if offsets.contains(&n) { Vec::new() } else { payload(n) })).collect()
}

fn contains(dir: &Path, text: &[u8]) -> bool {
    // A file may have got its name, or be gone, since it was listed.
    let files = std::fs::read_dir(dir).unwrap().filter_map(|entry| std::fs::read(entry.unwrap().path()).ok());
    files.into_iter().any(|bytes| memchr::memmem::find(&bytes, text).is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn everything_but_what_is_erased_is_read_as_before(
        offsets in proptest::collection::btree_set(0_u64..60, 0..60),
        segment_bytes in 300_u64..3_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let house = open(dir.path(), segment_bytes, 0);
        fill(&house, 0..60);
        prop_assert_eq!(house.log.seal(), Ok(60));
        let mut reader = house.log.reader(0).unwrap();
        reader.read(1, 1).unwrap();
        let size = house.log.size_bytes();
        let erased = erase_all(&house.log, &offsets);
        prop_assert_eq!(erased.iter().map(|part| part.records).sum::<u64>(), offsets.len() as u64);
        prop_assert!(erased.iter().all(|part| (part.before == part.after) == (part.records == 0)));
        // Also by whoever was reading.
        let chunk = reader.read(usize::MAX, 1).unwrap();
        prop_assert_eq!((chunk.records[0].offset, is_erased(&chunk.records[0].own)), (1, offsets.contains(&1)));
        prop_assert_eq!(house.read(0).1, vec![]);
        prop_assert_eq!(left(house.read(0).0), expected(60, &offsets));
        prop_assert_eq!(house.log.size_bytes(), size);
        for offset in &offsets {
            prop_assert!(!contains(dir.path(), &payload(*offset)), "record {}", offset);
        }
        let again = erase_all(&house.log, &offsets);
        prop_assert!(again.iter().all(|part| part.records == 0 && part.before == part.after));
        fill(&house, 60..70);
        drop(house);
        let report = verify(dir.path()).unwrap();
        prop_assert!(report.is_whole() && report.records == 70, "{:?}", report);
        let house = open(dir.path(), segment_bytes, 0);
        prop_assert_eq!(&house.recovery.notes, &vec![]);
        prop_assert_eq!(left(house.read(0).0), expected(70, &offsets));
    }
}

#[test]
fn what_only_erased_records_share_goes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let house = open(dir.path(), 1 << 20, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for group in 0..2 {
        let mut frames = Frames::default();
        frames.begin(|out| out.extend_from_slice(format!("shared by group {group}").as_bytes()));
        (0..3).for_each(|n| frames.push(|out| out.extend_from_slice(&payload(group * 3 + n))));
        runtime.block_on(house.log.append_in_lane(0, frames)).unwrap();
    }
    house.log.seal().unwrap();
    // All of the first group, and one of the second.
    erase_all(&house.log, &BTreeSet::from([0, 1, 2, 4]));
    assert!(!contains(dir.path(), b"shared by group 0"));
    assert!(contains(dir.path(), b"shared by group 1"));
    assert!(verify(dir.path()).unwrap().is_whole());
}

#[test]
fn a_segment_that_was_trimmed_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogSettings { segment_bytes: 1_000, retention_age_us: 10, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    fill(&house, 0..100);
    assert!(house.log.trim(50, clock_far()).unwrap().segments > 0);
    let gone = Log::erase(&house.log, 0, &mut ByOffset(BTreeSet::from([0]))).unwrap();
    assert_eq!((gone, dir.path().join(file::name(0)).exists()), (None, false));
}

/// Writes and seals a log in memory; answers how many operations erasing takes.
fn erase_in(memory: &Memory, offsets: &BTreeSet<u64>, injected: Option<(u64, Injected)>) -> Option<u64> {
    let settings = LogSettings { segment_bytes: 1_000, ..LogSettings::default() };
    let (log, _writer, _) = SegmentLog::open_in(memory.home(), settings, 0, 1).ok()?;
    let before = memory.ops();
    if let Some((at, injected)) = injected {
        memory.fail(at, injected);
    }
    for part in log.sealed() {
        Log::erase(&log, part.start, &mut ByOffset(offsets.clone())).ok()?;
    }
    Some(memory.ops() - before)
}

fn written() -> Memory {
    let memory = Memory::default();
    let settings = LogSettings { segment_bytes: 1_000, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open_in(memory.home(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    fill(&house, 0..40);
    house.log.seal().unwrap();
    drop(house);
    memory
}

fn read_all(memory: &Memory) -> Vec<(u64, Vec<u8>)> {
    let settings = LogSettings { segment_bytes: 1_000, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open_in(memory.home(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    let (records, damage) = house.read(0);
    assert_eq!((damage, &house.recovery.notes), (vec![], &vec![]));
    records
}

#[test]
fn whoever_dies_while_erasing_finds_each_segment_as_it_was_or_as_it_should_be() {
    let offsets: BTreeSet<u64> = (0..40).filter(|n| n % 3 == 0).collect();
    let operations = erase_in(&written(), &offsets, None).unwrap();
    assert!(operations > 20, "{operations}");
    for at in 0..operations {
        let memory = written();
        assert_eq!(erase_in(&memory, &offsets, Some((at, Injected::Death))), None, "{at}");
        for after in [memory.killed(), memory.cut(&mut Dice::new(at))] {
            for ((offset, own), n) in read_all(&after).into_iter().zip(0..) {
                assert_eq!(offset, n);
                let is_right = own == payload(n) || offsets.contains(&n) && is_erased(&own);
                assert!(is_right, "operation {at}, record {n}: {own:?}");
            }
            // And goes on.
            erase_in(&after, &offsets, None).unwrap();
            assert_eq!(left(read_all(&after)), expected(40, &offsets), "operation {at}");
        }
    }
}
