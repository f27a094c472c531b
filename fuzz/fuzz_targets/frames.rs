//! A log whose files were edited: it opens or is refused, and no record is read that was not written.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tidegate_log::{self as intake, Frames, LogSettings, SegmentLog};

/// What was written: the files, and each record by its offset.
struct Written {
    files: Vec<(String, Vec<u8>)>,
    records: HashMap<u64, (Vec<u8>, Vec<u8>)>,
}

thread_local! {
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
}

fn settings() -> LogSettings {
    LogSettings { segment_bytes: 4096, ..LogSettings::default() }
}

fn write() -> Written {
    let dir = TempDir::new().expect("a folder");
    let (log, writer, _) = SegmentLog::open(dir.path(), settings(), 0, 1).expect("a log");
    let writing = writer.run().expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut records = HashMap::new();
    for n in 0..40_u64 {
        let mut frames = Frames::default();
        let shared = format!("shared {n}").into_bytes();
        frames.begin(|out| out.extend_from_slice(&shared));
        let own: Vec<Vec<u8>> = (0..n % 4 + 1).map(|at| vec![b'a' + at as u8; 20 + (n as usize * 37) % 300]).collect();
        for record in &own {
            frames.push(|out| out.extend_from_slice(record));
        }
        let first = runtime.block_on(log.append_in_lane(0, frames)).expect("an append");
        records.extend((first..).zip(own.into_iter().map(|own| (shared.clone(), own))));
    }
    log.close();
    writing.join().expect("the writer ended");
    let files = std::fs::read_dir(dir.path()).expect("a folder").flatten();
    let files = files.map(|entry| {
        let name = entry.file_name().into_string().expect("a name");
        (name, std::fs::read(entry.path()).expect("a file"))
    });
    let mut files: Vec<_> = files.filter(|(name, _)| !name.starts_with("spare")).collect();
    files.sort();
    Written { files, records }
}

/// Each edit is file u8, place u16, kind u8 and up to 16 bytes.
fn edit(files: &mut Vec<(String, Vec<u8>)>, mut edits: &[u8]) {
    while let Some((head, rest)) = edits.split_first_chunk::<4>() {
        if files.is_empty() {
            return;
        }
        let file = usize::from(head[0]) % files.len();
        let content = &mut files[file].1;
        let at = usize::from(u16::from_le_bytes([head[1], head[2]])) % content.len().max(1);
        let count = rest.len().min(16);
        match head[3] % 5 {
            0 | 1 => content.iter_mut().skip(at).zip(&rest[..count]).for_each(|(to, from)| *to ^= from),
            2 => content.truncate(at),
            // A few dozen doublings would be a file that fills the memory.
            3 if content.len() > 1 << 20 => {}
            3 => {
                let piece = content[at..].to_vec();
                content.extend_from_slice(&piece);
            }
            _ => drop(files.remove(file)),
        }
        edits = &rest[count..];
    }
}

fn lay(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        std::fs::write(dir.join(name), content).expect("a file");
    }
}

fuzz_target!(|bytes: &[u8]| {
    WRITTEN.with_borrow_mut(|written| {
        let written = written.get_or_insert_with(write);
        let mut files = written.files.clone();
        edit(&mut files, bytes);
        let dir = TempDir::new().expect("a folder");
        lay(dir.path(), &files);
        let _ = intake::verify(dir.path());
        let _ = intake::end(dir.path());
        let Ok((log, _writer, _)) = SegmentLog::open(dir.path(), settings(), 0, 2) else { return };
        let Ok(mut reader) = log.reader(log.oldest()) else { return };
        let mut expected = log.oldest();
        while let Ok(chunk) = reader.read(1 << 20, 1000) {
            if chunk.records.is_empty() && chunk.damage.is_empty() {
                break;
            }
            for entry in &chunk.records {
                assert!(entry.offset >= expected, "a record comes twice");
                expected = entry.offset + 1;
                let (shared, own) = written.records.get(&entry.offset).expect("a record that was never written");
                assert!(entry.shared == *shared && entry.own == *own, "a record was altered");
            }
        }
    });
});
