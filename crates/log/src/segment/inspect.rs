//! Looking at a log without writing, whether a server uses it or not: where it ends, what is missing, and, read in
//! whole, what is damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::ending::end_of;
use super::frame::FrameEnd;
use super::key::{self, LogKey};
use super::manifest::LogManifest;
use super::plan::{self, Active, LogFile};
use super::reader::Segment;
use super::storage::{Disk, Home};
use super::{LogDamage, LogEntry, LogError, Note, SealedSegments, Severity, file, first_format};

/// What a look at the log found; nothing was written.
pub(super) struct LookedLog {
    pub(super) key: Option<LogKey>,
    pub(super) sealed: BTreeMap<u64, SealedSegments>,
    pub(super) end: FrameEnd,
    /// The part that was answered for.
    pub(super) committed: FrameEnd,
    pub(super) notes: Vec<Note>,
}

/// Looks at the log as it is, whether a server writes it or not.
pub(super) fn inspect(home: &Home) -> Result<LookedLog, LogError> {
    let bases = file::bases(&home.list()?);
    let key = key::read(home)?;
    let nothing = FrameEnd { base: 0, position: file::DATA_AT, next: 0, chain: 0 };
    let mut looked = LookedLog { key, sealed: BTreeMap::new(), end: nothing, committed: nothing, notes: Vec::new() };
    let Some(newest) = bases.last().copied() else { return Ok(looked) };
    let Some(key) = looked.key.clone() else {
        // A log of the first format that no server of this build has opened.
        let bytes = home.open(&file::name(newest), false)?.read_whole(u64::MAX)?;
        if !first_format::is_first_format(&bytes) {
            let reason = "it and key.copy are both missing or damaged";
            return Err(LogError::Key { path: home.path(key::NAME), reason });
        }
        looked.end.next = first_format::end(&bytes, newest);
        return Ok(looked);
    };
    let mut files = BTreeMap::new();
    for base in bases {
        // The server may trim meanwhile.
        let Some(found) = gone_is_fine(file::look(home, base, Some(&key)))? else { continue };
        if found.header.is_none() && !found.first_format {
            let name = file::name(base);
            looked.notes.push(Note::error(format!("both copies of the header of segment {name} are damaged")));
        }
        files.insert(base, LogFile { header: found.header, bytes: found.bytes });
    }
    let plan = plan::plan(&LogManifest::read(home, &key)?, &files);
    looked.notes.extend(plan.notes);
    looked.sealed = plan.sealed;
    let base = match plan.active {
        Active::None => return Ok(looked),
        Active::At(base) => base,
        Active::Lost(base) => {
            looked.notes.push(Note::error(format!("segment {}, the newest of the log, is missing", file::name(base))));
            looked.end = FrameEnd { base, next: base, ..nothing };
            looked.committed = looked.end;
            return Ok(looked);
        }
    };
    let bytes = home.open(&file::name(base), false)?.read_whole(u64::MAX)?;
    if first_format::is_first_format(&bytes) {
        looked.end = FrameEnd { base, next: first_format::end(&bytes, base), ..nothing };
        return Ok(looked);
    }
    let header = files.get(&base).and_then(|file| file.header);
    let cut_short = header.map_or(bytes.len() as u64 <= file::DATA_AT, |header| (bytes.len() as u64) < header.room);
    if cut_short {
        let name = file::name(base);
        looked.notes.push(Note::error(format!("segment {name}, the newest of the log, was cut short")));
    }
    let ended = end_of(&key, base, &bytes);
    (looked.end, looked.committed) = (ended.end, ended.committed);
    Ok(looked)
}

fn gone_is_fine<T>(outcome: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match outcome {
        Err(LogError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What `tidegate status` shows of a log.
#[derive(Debug, Default)]
pub struct Overview {
    /// The offset behind the last record; 0 when there is none.
    pub end: u64,
    /// What is missing or damaged, as far as names and headers tell.
    pub notes: Vec<Note>,
}

impl Overview {
    /// How many records there are at most from one offset up to another.
    #[must_use]
    pub fn records(&self, from: u64, to: u64) -> u64 {
        to.saturating_sub(from)
    }
}

/// Looks at the log in `dir`, as far as it can be seen quickly.
///
/// # Errors
/// The directory, its key or its last segment cannot be read.
pub fn overview(dir: &Path) -> Result<Overview, LogError> {
    if !dir.exists() {
        return Ok(Overview::default());
    }
    let looked = inspect_settled(&Disk::at(dir)?)?;
    Ok(Overview { end: looked.end.next, notes: looked.notes })
}

/// A server may make, rename or remove a segment between two looks; then they are looked at once more.
pub(super) fn inspect_settled(home: &Home) -> Result<LookedLog, LogError> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match inspect(home) {
            Ok(looked) if looked.notes.iter().all(|note| note.severity < Severity::Warning) => return Ok(looked),
            Ok(_) => {}
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    inspect(home)
}

/// What reading the whole log found.
#[derive(Debug, Default)]
pub struct LogReport {
    pub segments: u64,
    pub records: u64,
    pub bytes: u64,
    /// Offsets that were trimmed away are below this one.
    pub oldest: u64,
    /// The offset behind the last record that was answered for.
    pub end: u64,
    /// Ranges that cannot be read, in order. Those without bytes are missing from end to end.
    pub damaged: Vec<LogDamage>,
    /// What else is wrong or worth knowing.
    pub notes: Vec<Note>,
}

impl LogReport {
    /// True when every record that was answered for can be read, and every segment follows the one before.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.notes.iter().all(|note| note.severity < Severity::Error)
    }

    /// Offsets that cannot be read.
    #[must_use]
    pub fn records_lost(&self) -> u64 {
        self.damaged.iter().map(|damage| damage.missing.end - damage.missing.start).sum()
    }
}

/// Reads the whole log in `dir`: headers, frames, marks, the chain of the segments, the manifest. Writes nothing, and
/// reads what was committed; so a server may write meanwhile.
///
/// # Errors
/// A file cannot be read, the key is lost, or another build wrote the log.
pub fn verify(dir: &Path) -> Result<LogReport, LogError> {
    if !dir.exists() {
        return Ok(LogReport::default());
    }
    verify_in(&Disk::at(dir)?)
}

pub(super) fn verify_in(home: &Home) -> Result<LogReport, LogError> {
    let looked = inspect_settled(home)?;
    let mut report = LogReport { notes: looked.notes, end: looked.committed.next, ..LogReport::default() };
    let Some(key) = looked.key else {
        let text = "the log has an older format; it is carried over when a server opens it, and can be checked then";
        report.notes.push(Note::warning(text.to_owned()));
        return Ok(report);
    };
    report.oldest = looked.sealed.keys().next().copied().unwrap_or(looked.committed.base);
    let FrameEnd { base, position, next, chain } = looked.committed;
    let newest = SealedSegments { bytes: position, end: next, chain, sealed_at_us: 0, missing: false };
    let is_there = home.find(&file::name(base), false)?.is_some();
    for (base, sealed) in looked.sealed.into_iter().chain(is_there.then_some((base, newest))) {
        match verify_segment(home, &key, (base, sealed), &mut report) {
            // Trimmed meanwhile.
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    Ok(report)
}

fn verify_segment(
    home: &Home,
    key: &LogKey,
    (base, sealed): (u64, SealedSegments),
    report: &mut LogReport,
) -> Result<(), LogError> {
    const READ_BYTES: usize = 4 << 20;
    let before = report.damaged.len();
    let mut segment = Segment::open(home, base, sealed.missing)?;
    let mut next = base;
    while let Some(chunk) = segment.read(key, &sealed, next, (READ_BYTES, usize::MAX))? {
        next = chunk.next;
        report.records += chunk.records.len() as u64;
        report.damaged.extend(chunk.damage);
    }
    report.segments += 1;
    report.bytes += sealed.bytes;
    if report.damaged.len() == before && sealed.chain != 0 && segment.chain != sealed.chain {
        let name = file::name(base);
        report.notes.push(Note::error(format!(
            "segment {name} is readable, but it is not the one that the log's chain names: was it put there from another copy?"
        )));
    }
    Ok(())
}

/// Hands the newest committed records of the log in `dir`, at most `records_max`, to `take`, in order, until that answers false.
/// Writes nothing, so a server may write meanwhile. The answer says how many records cannot be read.
///
/// # Errors
/// A file cannot be read, the key is lost, or the log has a format that a server has to carry over first.
pub fn read_newest(dir: &Path, records_max: u64, take: &mut dyn FnMut(LogEntry) -> bool) -> Result<u64, LogError> {
    const READ: (usize, usize) = (4 << 20, 10_000);
    if !dir.exists() {
        return Ok(0);
    }
    let home = Disk::at(dir)?;
    let looked = inspect_settled(&home)?;
    let FrameEnd { base, position, next, chain } = looked.committed;
    let Some(key) = looked.key else {
        if looked.end.next == 0 {
            return Ok(0);
        }
        let reason = "it has an older format, which a server carries over when it starts".to_owned();
        return Err(LogError::Foreign { path: dir.to_owned(), reason });
    };
    let from = next.saturating_sub(records_max);
    let newest = SealedSegments { bytes: position, end: next, chain, sealed_at_us: 0, missing: false };
    let is_there = home.find(&file::name(base), false)?.is_some();
    let mut unread = 0;
    for (base, sealed) in looked.sealed.into_iter().chain(is_there.then_some((base, newest))) {
        if sealed.end <= from {
            continue;
        }
        // Trimmed meanwhile.
        let Some(mut segment) = gone_is_fine(Segment::open(&home, base, sealed.missing))? else { continue };
        let mut next = base.max(from);
        while let Some(chunk) = segment.read(&key, &sealed, next, READ)? {
            next = chunk.next;
            unread += chunk.damage.iter().map(|damage| damage.missing.end - damage.missing.start).sum::<u64>();
            for record in chunk.records {
                if !take(record) {
                    return Ok(unread);
                }
            }
        }
    }
    Ok(unread)
}
