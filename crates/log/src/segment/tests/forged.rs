//! Bytes inside events that look like frames, and numbers that no log ever reaches.

use super::ledger::{House, Ledger};
use super::memory::Memory;
use crate::segment::file;
use crate::segment::frame::{FrameEnd, Frames, HEADER_BYTES, MARK_BYTES, MARK_MAGIC, Read, RecordGroup, mark};
use crate::segment::key::{self, LogKey};
use crate::segment::manifest::LogManifest;
use crate::segment::scan::{ScanStep, SegmentScan};

fn frame_of(key: &LogKey, mut end: FrameEnd, payload: &[u8]) -> Vec<u8> {
    let mut frames = Frames::default();
    frames.push(|out| out.extend_from_slice(payload));
    let mut bytes = Vec::new();
    frames.number_into(key, &mut end, &mut bytes);
    bytes
}

/// An event holds whole frames, made with another key, for each place where they may come to lie.
#[test]
fn an_event_that_holds_frames_forges_no_record_when_its_own_frame_is_damaged() {
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    let mut house = House::open(&memory, 100_000, 0).unwrap();
    assert!(house.append(&mut ledger, &[1])[0].is_ok());
    let start = house.log.inner.segments.lock().unwrap().active_bytes;
    let mut frames = Frames::default();
    frames.push(|out| {
        while out.len() < 4000 {
            let position = start + (HEADER_BYTES + 16 + out.len()) as u64;
            let end = FrameEnd { base: 0, position, next: 2, chain: 0 };
            out.extend(frame_of(&key::for_tests(), end, b"forged"));
            let position = start + (HEADER_BYTES + 16 + out.len()) as u64;
            out.extend(mark(&key::for_tests(), &FrameEnd { base: 0, position, next: 3, chain: 0 }));
            out.extend_from_slice(b"TGr1TGr2TGm2");
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = house.log.clone();
    let (answer, ()) =
        runtime.block_on(async { tokio::join!(log.append_in_lane(0, frames), async { house.writer.step() }) });
    assert_eq!(answer, Ok(1));
    assert!(house.append(&mut ledger, &[1])[0].is_ok());
    drop(house);
    let name = file::name(0);
    let bytes = memory.bytes(&name);
    let at = usize::try_from(start).unwrap();
    // Its header is damaged, or its write was torn anywhere.
    for torn in [None, Some(at + 60), Some(at + 500), Some(at + 3000)] {
        let hurt = memory.killed();
        let mut bytes = bytes.clone();
        match torn {
            None => bytes[at + 9] ^= 1,
            Some(from) => bytes[from..].fill(0),
        }
        bytes[at + 33] ^= u8::from(torn.is_some());
        hurt.put(&name, bytes);
        let house = House::open(&hurt, 100_000, 0).unwrap();
        let (records, damage) = house.read(0).unwrap();
        assert!(records.iter().all(|entry| !entry.own.starts_with(b"forged")), "{torn:?}");
        let offsets: Vec<u64> = records.iter().map(|entry| entry.offset).collect();
        if torn.is_none() {
            assert_eq!((offsets, damage.len()), (vec![0, 2], 1));
        } else {
            assert_eq!(offsets, [0]);
        }
    }
}

#[test]
fn a_frame_or_a_mark_that_was_copied_elsewhere_does_not_count() {
    let key = key::for_tests();
    let end = FrameEnd { base: 7, position: 5000, next: 9, chain: 0 };
    let (frame, mark) = (frame_of(&key, end, b"copied"), mark(&key, &end));
    for (base, position) in [(7, 5000), (7, 5008), (7, 4999), (8, 5000), (0, 5000)] {
        let counts = (base, position) == (7, 5000);
        assert_eq!(
            matches!(RecordGroup::read(&key, base, position, &frame), Read::Group(_)),
            counts,
            "{base}, {position}"
        );
        let marked = crate::segment::frame::read_mark(&key, base, position, &mark);
        assert_eq!(marked, counts.then_some(9), "{base}, {position}");
    }
}

#[test]
fn positions_and_numbers_near_the_end_of_their_range_wedge_nothing() {
    let key = key::for_tests();
    let ends = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX - 40, u64::MAX - 1, u64::MAX];
    for base in ends {
        for position in ends {
            for next in ends {
                let end = FrameEnd { base, position, next, chain: 0 };
                let marked = mark(&key, &end);
                let mut header = [0_u8; HEADER_BYTES + 16];
                header[..4].copy_from_slice(b"TGr2");
                header[4] = 1;
                header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
                header[12..16].copy_from_slice(&1_u32.to_le_bytes());
                header[16..24].copy_from_slice(&next.to_le_bytes());
                header[24..32].copy_from_slice(&position.to_le_bytes());
                header[HEADER_BYTES..].fill(0xff);
                // A frame that the key's owner might make, and one that nobody made.
                let check = key.of_frame(base, &header[..32], &header[HEADER_BYTES..]);
                for check in [check, 7] {
                    header[32..40].copy_from_slice(&check.to_le_bytes());
                    let read = RecordGroup::read(&key, base, position, &header);
                    assert!(check != 7 || read == Read::No);
                    let bytes = [&header[..], &marked, b"TGr2 rest"].concat();
                    for (origin, limit) in [(position, None), (position, Some(next)), (0, Some(u64::MAX))] {
                        let scan = SegmentScan { key: &key, base, origin, bytes: &bytes, last: true, limit };
                        let (mut at, mut expected, mut steps) = (0, next, 0);
                        loop {
                            steps += 1;
                            assert!(steps < 100, "no end");
                            match scan.step(at, expected) {
                                ScanStep::Group(group) => (at, expected) = (at + group.frame_bytes(), group.next),
                                ScanStep::Mark => at += MARK_BYTES,
                                ScanStep::Damage { to, next } => {
                                    assert!(to > at);
                                    (at, expected) = (to, next);
                                }
                                ScanStep::More | ScanStep::End => break,
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn random_bytes_are_no_manifest_and_no_frame() {
    let key = key::for_tests();
    let mut dice = super::memory::Dice::new(7);
    for _ in 0..2000 {
        let mut bytes: Vec<u8> = (0..dice.below(200)).map(|_| dice.next() as u8).collect();
        assert_eq!(LogManifest::decode(&key, &bytes), None);
        if bytes.len() > 4 {
            bytes[..4].copy_from_slice(if dice.below(2) == 0 { b"TGr2" } else { &MARK_MAGIC });
        }
        let scan = SegmentScan { key: &key, base: 0, origin: 0, bytes: &bytes, last: true, limit: Some(100) };
        assert!(matches!(scan.step(0, 0), ScanStep::Damage { .. } | ScanStep::End));
    }
    // A whole manifest that names more than it holds.
    let mut bytes = LogManifest { active: Some(3), ..LogManifest::default() }.encode(&key);
    bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(LogManifest::decode(&key, &bytes), None);
    let end = bytes.len() - 8;
    let check = key.of(crate::segment::key::SealedBytes::Manifest, &bytes[..end]);
    bytes[end..].copy_from_slice(&check.to_le_bytes());
    assert_eq!(LogManifest::decode(&key, &bytes), None);
}
