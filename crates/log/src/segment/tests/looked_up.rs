//! Records found by a key, among many segments.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::memory::Memory;
use crate::segment::storage::{Home, Storage, Stored};
use crate::segment::{FOUND_MAX, Frames, LogSettings, SegmentLog, key_index, lock};
use crate::{Eraser, Erasing, Log as _, LogEntry};

const SEGMENT_BYTES: u64 = 256 << 10;

/// A file layer that counts what is read.
struct Counted {
    memory: Memory,
    bytes: Arc<AtomicU64>,
}

struct CountedFile {
    file: Box<dyn Stored>,
    bytes: Arc<AtomicU64>,
}

impl Storage for Counted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.memory.list()
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn Stored>> {
        let file = self.memory.open(name, write)?;
        Ok(Box::new(CountedFile { file, bytes: Arc::clone(&self.bytes) }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Stored>> {
        self.memory.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.memory.sync_names()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.memory.path(name)
    }
}

impl Stored for CountedFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let read = self.file.read_at(bytes, at)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// A log in memory, and how much was read of it.
struct CountedLog {
    log: SegmentLog,
    writer: Option<JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
}

impl CountedLog {
    fn open(memory: &Memory) -> Self {
        Self::with_segments(memory, SEGMENT_BYTES)
    }

    fn with_segments(memory: &Memory, segment_bytes: u64) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let home = Home::new(Arc::new(Counted { memory: memory.clone(), bytes: Arc::clone(&bytes) }));
        let settings = LogSettings { segment_bytes, retention_age_us: 10, ..LogSettings::default() };
        let (log, writer, _) = SegmentLog::open_in(home, settings, 0, 1).unwrap();
        Self { log, writer: Some(writer.run().unwrap()), bytes }
    }

    /// Appends records whose keys are these numbers.
    fn append(&self, numbers: std::ops::Range<u64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let numbers: Vec<u64> = numbers.collect();
        for some in numbers.chunks(200) {
            let mut frames = Frames::default();
            for number in some {
                frames.push(|out| out.extend_from_slice(format!("key-{number} {}", "x".repeat(200)).as_bytes()));
            }
            runtime.block_on(self.log.append_in_lane(0, frames)).unwrap();
        }
    }

    fn index(&self) -> u64 {
        let mut made = 0;
        while self.log.index_one(key_of, &|| false).unwrap() {
            made += 1;
        }
        made
    }

    fn find(&self, key: &str) -> Vec<u64> {
        let found = self.log.find_key(key.as_bytes(), key_of, &|| false).unwrap();
        assert!(found.left.is_empty());
        assert!(found.records.iter().all(|entry| key_of(&entry.shared, &entry.own).unwrap() == key.as_bytes()));
        found.records.into_iter().map(|entry| entry.offset).collect()
    }

    fn bytes_read(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

impl Drop for CountedLog {
    fn drop(&mut self) {
        self.log.close();
        self.writer.take().unwrap().join().unwrap();
    }
}

fn key_of<'r>(_: &'r [u8], own: &'r [u8]) -> Option<Cow<'r, [u8]>> {
    own.split(|byte| *byte == b' ').next().map(Cow::Borrowed)
}

fn indexes(memory: &Memory) -> Vec<String> {
    memory.names().into_iter().filter(|name| name.ends_with(".keys")).collect()
}

#[test]
fn a_key_is_found_among_many_segments_and_little_is_read_for_it() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    house.append(0..30_000);
    house.append(7..8);
    let segments = house.index();
    assert!(segments > 10, "{segments} segments");
    assert_eq!(indexes(&memory).len() as u64, segments);
    // Once for the segment that is being written.
    assert_eq!(house.find("key-29999"), [29_999]);
    house.bytes_read();
    for number in [0, 1, 499, 5_000, 12_345, 29_998] {
        assert_eq!(house.find(&format!("key-{number}")), [number]);
        let read = house.bytes_read();
        let bound = segments * (4096 + 512 * 8 + 4) + 3 * (256 << 10);
        assert!(read < bound, "{read} bytes were read for key {number}, and {bound} are enough");
        assert!(bound < house.log.size_bytes() / 4);
    }
    assert_eq!(house.find("key-7"), [7, 30_000], "in the order of the log");
    for other in ["", "key-", "key-30001", "KEY-7", "%", "key-_", "../key-7"] {
        assert_eq!(house.find(other), [0_u64; 0], "{other}");
    }
}

#[test]
fn an_index_that_is_missing_damaged_or_of_another_segment_is_made_anew() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    house.append(0..5_000);
    // Nobody has made any.
    assert_eq!(house.find("key-3"), [3]);
    let names = indexes(&memory);
    assert!(names.len() > 2 && house.index() == 0);
    let whole: Vec<Vec<u8>> = names.iter().map(|name| memory.bytes(name)).collect();
    for at in (0..whole[0].len()).step_by(97) {
        let mut flipped = whole[0].clone();
        flipped[at] ^= 0x10;
        memory.put(&names[0], flipped);
        assert_eq!(house.find("key-3"), [3], "byte {at}");
    }
    for cut in [0, 10, 90, whole[0].len() / 2, whole[0].len() - 1] {
        memory.put(&names[0], whole[0][..cut].to_vec());
        assert_eq!(house.find("key-3"), [3], "cut at {cut}");
    }
    memory.put(&names[0], whole[1].clone());
    assert_eq!(house.find("key-3"), [3], "that of another segment");
    memory.delete(&names[1]);
    assert_eq!(house.index(), 1);
    assert_eq!(indexes(&memory), names);
}

#[test]
fn an_index_goes_with_its_segment_and_one_that_stays_goes_with_the_next_look() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    house.append(0..5_000);
    let made = house.index();
    memory.put(&key_index::name(999_999), b"left behind".to_vec());
    let trimmed = house.log.trim(3_000, i64::MAX).unwrap();
    assert!(trimmed.segments > 0);
    assert_eq!(house.index(), 0);
    assert_eq!(indexes(&memory).len() as u64, made - trimmed.segments);
    assert_eq!(house.find("key-3"), [0_u64; 0]);
    assert_eq!(house.find("key-4000"), [4_000]);
}

#[test]
fn what_was_not_looked_at_is_named_and_what_is_found_is_bounded() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    for _ in 0..FOUND_MAX + 50 {
        house.append(1..2);
    }
    let found = house.log.find_key(b"key-1", key_of, &|| false).unwrap();
    assert_eq!((found.records.len(), found.has_more), (FOUND_MAX, true));
    assert_eq!(found.records[0].offset, 0, "those that came first");
    house.append(2..5_000);
    drop(house);
    let house = CountedLog::open(&memory);
    let found = house.log.find_key(b"key-1", key_of, &|| true).unwrap();
    assert!(found.records.is_empty() && !found.has_more);
    let left: u64 = found.left.iter().map(|range| range.end - range.start).sum();
    assert_eq!(left, house.log.committed(), "all of it");
}

/// The log whose open segment is sealed in the middle of a look.
static SEALED_MEANWHILE: Mutex<Option<SegmentLog>> = Mutex::new(None);

fn key_of_meanwhile<'r>(shared: &'r [u8], own: &'r [u8]) -> Option<Cow<'r, [u8]>> {
    let log = SEALED_MEANWHILE.lock().unwrap().take();
    if let Some(log) = log {
        log.seal().unwrap();
    }
    key_of(shared, own)
}

#[test]
fn a_segment_that_is_sealed_while_others_are_looked_at_is_looked_at_too() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    house.append(0..3_200);
    let sealed = house.log.sealed();
    assert!(!sealed.is_empty() && sealed.last().unwrap().end < 3_200, "the last record is in the open segment");
    *SEALED_MEANWHILE.lock().unwrap() = Some(house.log.clone());
    let found = house.log.find_key(b"key-3199", key_of_meanwhile, &|| false).unwrap();
    assert!(SEALED_MEANWHILE.lock().unwrap().is_none() && house.log.sealed().len() == sealed.len() + 1);
    let offsets: Vec<u64> = found.records.iter().map(|entry| entry.offset).collect();
    assert_eq!((offsets, found.left.len()), (vec![3_199], 0));
}

struct OneEraser(u64);

impl Eraser for OneEraser {
    fn record(&mut self, entry: &LogEntry) -> Erasing {
        if entry.offset == self.0 { Erasing::With(b"gone ".to_vec()) } else { Erasing::Stays }
    }

    fn shared(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn lost(&mut self, _: &[u8]) -> bool {
        false
    }
}

#[test]
fn no_hash_of_a_record_is_left_in_an_index_once_the_record_is_erased() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    house.append(0..5_000);
    let made = house.index();
    assert_eq!(house.find("key-3"), [3]);
    let erased = house.log.erase(0, &mut OneEraser(3)).unwrap().unwrap();
    assert_eq!(erased.records, 1);
    assert!(!indexes(&memory).contains(&key_index::name(0)), "it had the hash of what is gone");
    assert_eq!((house.find("key-3"), house.find("key-4")), (vec![], vec![4]));
    assert_eq!((house.index(), indexes(&memory).len() as u64), (0, made), "the look has made it again");
}

#[test]
fn an_index_is_made_in_one_read_of_its_segment_however_much_its_records_share() {
    let memory = Memory::default();
    let house = CountedLog::open(&memory);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut frames = Frames::default();
    let shared = vec![b'x'; 60_000];
    frames.begin(|out| out.extend_from_slice(&shared));
    for number in 0..400 {
        frames.push(|out| out.extend_from_slice(format!("key-{number} {}", "x".repeat(200)).as_bytes()));
    }
    runtime.block_on(house.log.append_in_lane(0, frames)).unwrap();
    house.log.seal().unwrap();
    house.bytes_read();
    assert_eq!(house.index(), 1);
    let (read, size) = (house.bytes_read(), house.log.size_bytes());
    assert!(read < 3 * size, "{read} bytes were read of {size}");
    assert_eq!(house.find("key-399"), [399]);
}

#[test]
fn a_reader_begins_near_its_record_and_gives_what_one_gives_that_walks_there() {
    let memory = Memory::default();
    let house = CountedLog::with_segments(&memory, 4 << 20);
    house.append(0..30_000);
    house.index();
    let sealed = house.log.sealed();
    assert!(!sealed.is_empty() && sealed.last().unwrap().end < 29_000, "both kinds of segments are looked at");
    for offset in [0, 1, 12_000, sealed[0].end - 1, sealed[0].end, 29_000] {
        house.bytes_read();
        let near = house.log.reader_near(offset).unwrap().read(256 << 10, 1).unwrap();
        let read = house.bytes_read();
        assert!(read < 3 << 19, "{read} bytes were read for {offset}");
        let walked = house.log.reader(offset).unwrap().read(256 << 10, 1).unwrap();
        assert_eq!(near.records[0].offset, offset);
        assert_eq!(near.records, walked.records, "{offset}");
    }
    // Without an index it is found all the same.
    memory.delete(&indexes(&memory)[0]);
    assert_eq!(house.log.reader_near(12_000).unwrap().read(256 << 10, 1).unwrap().records[0].offset, 12_000);
}

#[test]
fn what_was_taken_in_while_a_segment_was_written_is_not_read_again_for_its_index() {
    let memory = Memory::default();
    let house = CountedLog::with_segments(&memory, 8 << 20);
    house.append(0..20_000);
    assert_eq!(house.index(), 0);
    house.log.seal().unwrap();
    house.bytes_read();
    assert_eq!(house.index(), 1);
    let read = house.bytes_read();
    assert!(read < 1 << 20, "{read} bytes were read of {}", house.log.size_bytes());
    for number in [0, 7_777, 19_999] {
        assert_eq!(house.find(&format!("key-{number}")), [number]);
    }
}

#[test]
fn no_hash_of_a_record_that_is_erased_is_left_in_memory() {
    let memory = Memory::default();
    let house = CountedLog::with_segments(&memory, 8 << 20);
    house.append(0..2_000);
    house.index();
    let known = || lock(&house.log.inner.open_index).find(b"key-3", FOUND_MAX).len();
    house.log.seal().unwrap();
    assert_eq!(known(), 1);
    assert_eq!(house.log.erase(0, &mut OneEraser(3)).unwrap().unwrap().records, 1);
    assert_eq!(known(), 0);
    assert_eq!((house.index(), house.find("key-3"), house.find("key-4")), (1, vec![], vec![4]));
}
