//! Segments are held for an archive, and read, erased and searched where they were fetched from it.

use std::borrow::Cow;

use super::*;
use crate::{Eraser, Erasing};

const SEGMENT_BYTES: u64 = 4096;
const RECORDS: u64 = 400;

/// Erases one record.
struct OneRecord(u64);

impl Eraser for OneRecord {
    fn record(&mut self, entry: &LogEntry) -> Erasing {
        if entry.offset == self.0 { Erasing::With(b"-".to_vec()) } else { Erasing::Stays }
    }

    fn shared(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn lost(&mut self, _: &[u8]) -> bool {
        false
    }
}

fn own_key<'r>(_: &'r [u8], own: &'r [u8]) -> Option<Cow<'r, [u8]>> {
    Some(Cow::Borrowed(own))
}

/// Segments and their bytes, as an archive has them.
fn copies(log: &SegmentLog) -> Vec<(SealedFile, Vec<u8>)> {
    let copy = |file: SealedFile| {
        let mut bytes = std::fs::read(log.path_of(file.first)).unwrap();
        bytes.truncate(usize::try_from(file.bytes).unwrap());
        (file, bytes)
    };
    log.sealed_files(0).into_iter().map(copy).collect()
}

fn fetch(log: &SegmentLog, copies: &[(SealedFile, Vec<u8>)], which: usize) {
    let (file, bytes) = &copies[which];
    std::fs::write(log.path_of_fetched(file.first), bytes).unwrap();
    let next = copies.get(which + 1).map_or_else(|| log.segment_from(file.end), |(next, _)| next.first);
    log.add_fetched(file, next);
}

/// A log that has given up all that is sealed, and what it had.
fn given_up(dir: &Path) -> (House, Vec<(SealedFile, Vec<u8>)>) {
    let house = open(dir, SEGMENT_BYTES, 0);
    fill(&house, 0..RECORDS);
    let copies = copies(&house.log);
    assert!(copies.len() > 3, "there are {} segments", copies.len());
    house.log.prepare_fetched().unwrap();
    house.log.set_archived(0..copies.last().unwrap().0.end);
    let trimmed = house.log.trim(RECORDS, i64::MAX).unwrap();
    assert_eq!((trimmed.segments, trimmed.unarchived), (copies.len() as u64, None));
    (house, copies)
}

#[test]
fn nothing_is_trimmed_before_it_is_archived() {
    let dir = tempfile::tempdir().unwrap();
    let house = open(dir.path(), SEGMENT_BYTES, 0);
    fill(&house, 0..RECORDS);
    house.log.set_archived(0..0);
    assert_eq!(house.log.trim(RECORDS, i64::MAX).unwrap(), Trimmed::default());
    let second = house.log.sealed_files(1)[0];
    house.log.set_archived(0..second.end);
    let trimmed = house.log.trim(RECORDS, i64::MAX).unwrap();
    assert_eq!((trimmed.segments, trimmed.unarchived), (2, None));
    assert_eq!((house.log.oldest(), house.log.readable_from()), (second.end, 0));
}

#[test]
fn a_segment_that_the_log_has_not_written_is_told_from_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let house = open(dir.path(), SEGMENT_BYTES, 0);
    fill(&house, 0..RECORDS);
    let own = house.log.sealed_files(0);
    assert!(own.iter().all(|file| house.log.may_have_written(file)));
    let (first, last) = (own[0], own[own.len() - 1]);
    for other in [
        SealedFile { end: first.end + 1, ..first },
        SealedFile { chain: first.chain ^ 1, ..first },
        SealedFile { first: first.first + 1, ..first },
        // The newest one of this log is not sealed yet.
        SealedFile { first: last.end, end: last.end + 1, ..last },
    ] {
        assert!(!house.log.may_have_written(&other), "{other:?}");
    }
    house.log.set_archived(0..last.end);
    house.log.trim(RECORDS, i64::MAX).unwrap();
    assert!(house.log.may_have_written(&SealedFile { chain: first.chain ^ 1, ..first }), "nobody knows any more");
}

#[test]
fn what_the_cap_forces_is_trimmed_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        LogSettings { segment_bytes: SEGMENT_BYTES, hard_cap_bytes: Some(3 * SEGMENT_BYTES), ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    fill(&house, 0..RECORDS);
    house.log.set_archived(0..0);
    let trimmed = house.log.trim(RECORDS, 1).unwrap();
    assert_eq!(trimmed.unarchived, Some((0, house.log.oldest())));
    assert!(trimmed.segments > 0 && trimmed.records_lost == 0, "every cursor has passed them: {trimmed:?}");
}

#[test]
fn what_was_fetched_is_read_on_into_the_log_and_nothing_is_passed_over_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let (house, copies) = given_up(dir.path());
    assert!(matches!(house.log.reader(0).map(drop), Err(LogError::Trimmed { wanted: 0, .. })));
    (0..copies.len()).for_each(|which| fetch(&house.log, &copies, which));
    assert_eq!(house.read(0), (expect(0, RECORDS), Vec::new()));
    assert_eq!(house.read(copies[2].0.first + 1), (expect(copies[2].0.first + 1, RECORDS), Vec::new()));
    house.log.remove_fetched(copies[1].0.first).unwrap();
    assert!(!house.log.path_of_fetched(copies[1].0.first).exists());
    let (mut reader, mut next) = (house.log.reader(0).unwrap(), 0);
    let wanted = loop {
        match reader.read(1 << 20, 100) {
            Ok(chunk) => next = chunk.next,
            Err(LogError::Trimmed { wanted, .. }) => break wanted,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((next, wanted), (copies[0].0.end, copies[1].0.first));
}

#[test]
fn a_reader_goes_on_in_the_next_one_when_the_one_that_it_was_in_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (house, copies) = given_up(dir.path());
    fetch(&house.log, &copies, 0);
    let mut reader = house.log.reader(0).unwrap();
    while reader.next() < copies[0].0.end {
        reader.read(1 << 20, 1).unwrap();
    }
    fetch(&house.log, &copies, 1);
    house.log.remove_fetched(copies[0].0.first).unwrap();
    assert_eq!(reader.read(1 << 20, 1).unwrap().records[0].offset, copies[1].0.first);
    house.log.remove_fetched(copies[1].0.first).unwrap();
    assert!(matches!(reader.read(1 << 20, 1), Err(LogError::Trimmed { .. })));
}

#[test]
fn what_was_fetched_can_be_erased_under_those_who_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (house, copies) = given_up(dir.path());
    (0..copies.len()).for_each(|which| fetch(&house.log, &copies, which));
    let mut reader = house.log.reader(0).unwrap();
    assert_eq!(reader.read(1 << 20, 1).unwrap().records[0].own, payload(0));
    let erased = Log::erase(&house.log, 0, &mut OneRecord(3)).unwrap().unwrap();
    assert_eq!(erased.records, 1);
    assert_ne!(erased.before, erased.after);
    let chunk = reader.read(1 << 20, 3).unwrap();
    assert!(chunk.damage.is_empty() && chunk.records[2].own.starts_with(b"-"), "{chunk:?}");
    let file = std::fs::read(house.log.path_of_fetched(0)).unwrap();
    assert_eq!(file.len() as u64, copies[0].0.bytes);
    assert!(memchr::memmem::find(&file, &payload(3)).is_none());
    drop(house);
    // The log itself notices nothing of it.
    let house = open(dir.path(), SEGMENT_BYTES, 0);
    house.log.prepare_fetched().unwrap();
    assert!(!house.log.path_of_fetched(0).exists(), "a start empties the folder");
    fetch(&house.log, &copies, 0);
    house.log.remove_all_fetched().unwrap();
    assert!(!house.log.path_of_fetched(0).exists(), "so does one without an archive");
    house.log.remove_all_fetched().unwrap();
}

#[test]
fn a_record_is_found_through_the_index_that_was_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let (house, copies) = given_up(dir.path());
    fetch(&house.log, &copies, 2);
    let file = copies[2].0;
    let index = house.log.key_index(file.first, own_key, &|| false).unwrap().unwrap();
    assert!(house.log.look_into_fetched_index(&file, &payload(file.first)).unwrap().is_none(), "it is not there yet");
    std::fs::write(house.log.path_of_fetched_index(file.first), index).unwrap();
    let wanted = payload(file.first + 5);
    let places = house.log.look_into_fetched_index(&file, &wanted).unwrap().unwrap();
    assert!(!places.is_empty());
    let found = house.log.read_places((file.first, places), (&wanted, own_key), &|| false).unwrap();
    assert_eq!((found.has_more, found.left.len()), (false, 0));
    assert_eq!(found.records.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [file.first + 5]);
    let places = house.log.look_into_fetched_index(&file, &wanted).unwrap().unwrap();
    let found = house.log.read_places((file.first, places), (&wanted, own_key), &|| true).unwrap();
    assert_eq!(
        (found.records.len(), found.left.is_empty()),
        (0, false),
        "what nobody had the time to look at is named"
    );
    assert!(house.log.look_into_fetched_index(&file, b"nobody").unwrap().unwrap().is_empty());
}
