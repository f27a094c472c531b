//! What an id costs in the dedup window: looked up and kept, in batches as refining does it, while the window grows.
//!
//! Beside it, in the same run, a plain hash map (the floor) and a tree of SQLite with the same ids. Ids are new: a retry costs
//! a look alone. `--million N` says how many ids there are at the end (50; with `--quick` 5).

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use tidegate_dedup::{DedupIndex, DedupSettings, IdKey, Sighting};

const BATCH: u64 = 1_024;
const TREE_IDS: u64 = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let million = args.iter().position(|arg| arg == "--million").and_then(|at| args.get(at + 1)?.parse().ok());
    let million = million.unwrap_or(if args.iter().any(|arg| arg == "--quick") { 5 } else { 50 });
    let floor = hash_map(TREE_IDS);
    println!("a hash map in memory, 1 million ids: {floor:.2} µs an id");
    println!("a tree of SQLite, 1 million ids: {:.2} µs an id", tree(TREE_IDS));
    println!("{:>8} {:>9} {:>11} {:>9} {:>8} {:>8}", "ids", "µs an id", "CPU µs", "of a map", "memory", "bytes");
    index(million * 1_000_000, floor);
}

/// Microseconds of CPU of the whole process.
fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn ids(from: u64) -> Vec<[u8; 16]> {
    (from..from + BATCH).map(|n| (u128::from(n) | 0x5ee7_a110_c4fe << 64).to_be_bytes()).collect()
}

fn hash_map(count: u64) -> f64 {
    let mut seen = HashSet::new();
    let start = Instant::now();
    for from in (0..count).step_by(BATCH as usize) {
        assert!(ids(from).into_iter().all(|id| seen.insert(id)));
    }
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn tree(count: u64) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let db = rusqlite::Connection::open(dir.path().join("tree.db")).expect("a file");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
         CREATE TABLE seen (id BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID",
    )
    .expect("a table");
    let start = Instant::now();
    for from in (0..count).step_by(BATCH as usize) {
        db.execute_batch("BEGIN IMMEDIATE").expect("begin");
        let sql = "INSERT INTO seen (id, at_us) VALUES (?1, 0) ON CONFLICT (id) DO NOTHING";
        let mut insert = db.prepare_cached(sql).expect("a statement");
        // Ids in the order of their hashes, as random as those are.
        let mut hashes: Vec<_> = ids(from).iter().map(digest).collect();
        hashes.sort_unstable();
        for hash in &hashes {
            assert_eq!(insert.execute([&hash[..]]).expect("an insert"), 1);
        }
        db.execute_batch("COMMIT").expect("commit");
    }
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

/// Sixteen bytes that look random.
fn digest(id: &[u8; 16]) -> [u8; 16] {
    use sha2::Digest as _;
    let mut hash = [0; 16];
    hash.copy_from_slice(&sha2::Sha256::digest(id)[..16]);
    hash
}

fn index(count: u64, floor: f64) {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = DedupSettings { window_us: i64::MAX / 4, ..DedupSettings::default() };
    let mut index = DedupIndex::open(dir.path(), IdKey([3; 16]), settings.clone(), 0).expect("an index");
    let (mut start, mut cpu, mut reported) = (Instant::now(), cpu_us(), 0_u64);
    for from in (0..count).step_by(BATCH as usize) {
        let ids = ids(from);
        let sighting = |id| Sighting { source: "web", message_id: id, received_at_us: from.cast_signed() };
        let sightings: Vec<_> = ids.iter().map(|id| sighting(&id[..])).collect();
        let looked = index.look(&sightings).expect("a look");
        assert!(looked.is_duplicate.iter().all(|seen| !seen));
        index.keep(&looked, &(from..from + BATCH));
        if index.is_full() {
            index.freeze().expect("a run");
        }
        let done = from + BATCH;
        if done >= (reported * 10 / count + 1) * count / 10 {
            let ids = (done - reported) as f64;
            let each_us = start.elapsed().as_secs_f64() * 1e6 / ids;
            println!(
                "{done:>8} {each_us:>9.2} {:>11.2} {:>9.2} {:>5} MB {:>8.1}",
                (cpu_us() - cpu) / ids,
                each_us / floor,
                memory_mb(),
                bytes(dir.path()) as f64 / done as f64
            );
            (start, cpu, reported) = (Instant::now(), cpu_us(), done);
        }
    }
    let known_to = index.known_to();
    drop(index);
    let start = Instant::now();
    let index = DedupIndex::open(dir.path(), IdKey([3; 16]), settings, known_to).expect("the index again");
    assert_eq!(index.known_to(), known_to);
    println!("opened again after {:.0} ms, with {} ids", start.elapsed().as_secs_f64() * 1e3, index.len());
}

/// Memory of the process that is in no file.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}
