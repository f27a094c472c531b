//! The log from outside, on a real disk; the files beside this one hurt it in every way.
#![expect(clippy::single_range_in_vec_init, reason = "a list of one damaged range is what is meant")]

mod archive;
mod carried;
mod erase;
mod fail;
mod flips;
mod forged;
mod gaps;
mod held;
mod ledger;
mod looked_up;
mod memory;
mod power;

use std::thread::JoinHandle;

use super::*;

struct House {
    log: SegmentLog,
    writer: Option<JoinHandle<()>>,
    recovery: Recovery,
}

fn open(dir: &Path, segment_bytes: u64, floor: u64) -> House {
    let settings = LogSettings { segment_bytes, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir, settings, floor, 1).unwrap();
    House { log, writer: Some(writer.run().unwrap()), recovery }
}

impl House {
    fn append(&self, payloads: &[&[u8]]) -> Result<u64, AppendError> {
        let mut frames = Frames::default();
        for payload in payloads {
            frames.push(|out| out.extend_from_slice(payload));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.log.append_in_lane(0, frames))
    }

    fn read(&self, from: u64) -> (Vec<(u64, Vec<u8>)>, Vec<LogDamage>) {
        let mut reader = self.log.reader(from).unwrap();
        let (mut records, mut damage) = (Vec::new(), Vec::new());
        loop {
            let chunk = reader.read(100, 3).unwrap();
            if chunk.records.is_empty() && chunk.damage.is_empty() {
                return (records, damage);
            }
            records.extend(chunk.records.into_iter().map(|entry| (entry.offset, entry.own.to_vec())));
            damage.extend(chunk.damage);
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.log.close();
        self.writer.take().unwrap().join().unwrap();
    }
}

fn payload(n: u64) -> Vec<u8> {
    format!("record {n} {}", "x".repeat(usize::try_from(n % 50).unwrap())).into_bytes()
}

fn fill(house: &House, range: std::ops::Range<u64>) {
    for n in range {
        assert_eq!(house.append(&[&payload(n)]), Ok(n));
    }
}

fn expect(from: u64, to: u64) -> Vec<(u64, Vec<u8>)> {
    (from..to).map(|n| (n, payload(n))).collect()
}

#[test]
fn the_newest_records_are_read_beside_a_server_and_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let newest = |records_max: u64| {
        let mut found = Vec::new();
        let lost = read_newest(dir.path(), records_max, &mut |entry| {
            found.push((entry.offset, entry.own.to_vec()));
            found.len() < 60
        });
        assert_eq!(lost.unwrap(), 0);
        found
    };
    assert!(newest(10).is_empty());
    let house = open(dir.path(), 1000, 0);
    fill(&house, 0..100);
    for _ in 0..2 {
        assert!(newest(0).is_empty());
        assert_eq!(newest(7), expect(93, 100));
        assert_eq!(newest(50), expect(50, 100));
        // It was told to stop.
        assert_eq!(newest(1_000), expect(0, 60));
    }
    drop(house);
    assert_eq!(newest(50), expect(50, 100));
}

#[test]
fn what_is_appended_is_read_from_any_offset_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let house = open(dir.path(), 1000, 0);
        fill(&house, round * 40..(round + 1) * 40);
        for from in [0, 1, 17, 39, 40] {
            assert_eq!(house.read(from).0, expect(from, (round + 1) * 40), "round {round}, from {from}");
        }
        assert!(house.log.reader(0).is_ok());
    }
    let big = vec![b'y'; 5000];
    let house = open(dir.path(), 1000, 0);
    assert_eq!(house.append(&[&big, b"", &big]), Ok(120));
    let got = house.read(119).0;
    assert_eq!(
        got.iter().map(|(o, p)| (*o, p.len())).collect::<Vec<_>>(),
        [(119, payload(119).len()), (120, 5000), (121, 0), (122, 5000)]
    );
}

#[test]
fn a_torn_tail_is_cut_kept_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    drop({
        let house = open(dir.path(), 1 << 20, 0);
        fill(&house, 0..20);
        house
    });
    let path = dir.path().join(file::name(0));
    let bytes = std::fs::read(&path).unwrap();
    // The process died in the middle of a write: there is no mark behind it.
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1 - frame::MARK_BYTES;
    for cut in [end - 1, end - 10, end - 30, end - payload(19).len() - 1] {
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        let house = open(dir.path(), 1 << 20, 0);
        assert!(house.recovery.torn_bytes > 0 && house.recovery.torn_kept.as_ref().unwrap().exists());
        assert_eq!(house.log.committed(), 19);
        assert_eq!(house.append(&[b"again"]), Ok(19));
        let mut want = expect(0, 19);
        want.push((19, b"again".to_vec()));
        assert_eq!(house.read(0), (want, vec![]));
    }
}

#[test]
fn numbers_never_come_twice_even_when_the_tail_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    drop({
        let house = open(dir.path(), 1 << 20, 0);
        fill(&house, 0..5);
        house
    });
    let path = dir.path().join(file::name(0));
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end - frame::MARK_BYTES - 1..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let house = open(dir.path(), 1 << 20, 5);
    let said = &house.recovery.notes[0].text;
    assert!(said.contains("ends at offset 4, but offset 5 was read"), "{said}");
    assert_eq!(house.append(&[&payload(5)]), Ok(5));
    let mut want = expect(0, 4);
    want.push((5, payload(5)));
    assert_eq!(house.read(0), (want, vec![]));
    assert_eq!(house.read(5).0, expect(5, 6));
}

#[test]
fn retention_waits_for_the_slowest_cursor_unless_the_cap_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogSettings { segment_bytes: 1000, retention_age_us: 10, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    fill(&house, 0..100);
    let later = clock_far();
    assert_eq!(house.log.trim(0, later).unwrap(), Trimmed::default());
    let trimmed = house.log.trim(50, later).unwrap();
    assert!(trimmed.segments > 0 && trimmed.records_lost == 0);
    assert!(house.log.oldest() > 0 && house.log.oldest() <= 50);
    assert_eq!(house.read(50).0, expect(50, 100));
    assert!(matches!(house.log.reader(0), Err(LogError::Trimmed { wanted: 0, .. })));
    drop(house);
    let capped = LogSettings { segment_bytes: 1000, hard_cap_bytes: Some(25_000), ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), capped, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    let trimmed = house.log.trim(50, 1).unwrap();
    assert_eq!(trimmed.records_lost, house.log.oldest() - 50);
    assert!(trimmed.records_lost > 0 && house.log.size_bytes() <= 25_000);
}

#[test]
fn what_is_due_since_somebody_asked_stays_until_they_ask_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogSettings { segment_bytes: 1000, retention_bytes: 100_000, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    fill(&house, 0..5);
    let due_to = Log::due_to(&house.log, u64::MAX, 1);
    assert_eq!(due_to, 0, "what there is fits");
    let comes = (5..3_000).find(|n| {
        fill(&house, *n..n + 1);
        Log::due_to(&house.log, u64::MAX, 1) > 0
    });
    assert!(comes.is_some(), "it never is too much");
    assert_eq!(house.log.trim_below((u64::MAX, due_to), 1).unwrap(), Trimmed::default());
    assert_eq!(house.log.oldest(), 0);
    assert!(house.log.trim(u64::MAX, 1).unwrap().segments > 0);
}

fn clock_far() -> i64 {
    tidegate_process::clock::now_us() + 1_000_000
}

#[test]
fn too_much_waiting_is_refused_and_a_closed_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogSettings { pending_bytes_max: 100, ..LogSettings::default() };
    let (log, writer, recovery) = SegmentLog::open(dir.path(), settings, 0, 1).unwrap();
    let house = House { log, writer: Some(writer.run().unwrap()), recovery };
    assert_eq!(house.append(&[&[0; 200]]), Err(AppendError::Overloaded));
    assert_eq!(house.append(&[&[0; 10]]), Ok(0));
    house.log.close();
    assert_eq!(house.append(&[b"late"]), Err(AppendError::Closed));
}

#[test]
fn a_foreign_file_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file::name(0)), vec![b'?'; 64]).unwrap();
    let error = SegmentLog::open(dir.path(), LogSettings::default(), 0, 1).err().unwrap();
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
}

#[test]
fn a_group_whose_records_share_much_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let house = open(dir.path(), 1 << 20, 0);
    let mut frames = Frames::default();
    frames.begin(|out| out.resize(20_000, b's'));
    (0..900_u32).for_each(|n| frames.push(|out| out.extend_from_slice(&n.to_le_bytes())));
    let bytes = frames.bytes();
    assert!(bytes < 40_000, "{bytes}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(house.log.append_in_lane(0, frames)), Ok(0));
    let mut reader = house.log.reader(0).unwrap();
    for n in (0..900).step_by(50) {
        let chunk = reader.read(1_010_000, usize::MAX).unwrap();
        assert_eq!((chunk.records[0].offset, chunk.next), (n, n + 50));
        assert!(chunk.records.iter().all(|entry| entry.shared.len() == 20_000 && entry.own.len() == 4));
    }
    let report = verify(dir.path()).unwrap();
    assert!(report.is_whole() && report.records == 900, "{report:?}");
}
