//! Opening a log that may have died at any instant.
//!
//! Only the last segment is read, so a log of any size opens in the time of one segment. Everything before its last
//! commit mark was answered for: damage there is left for the reader to report. Behind the mark whole frames are kept;
//! the torn rest, which nobody was answered for, is copied to a file, zeroed, and written over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ending::end_of;
use super::file::{self, Header, PreviousSegment};
use super::frame::{FrameEnd, mark};
use super::key::{self, LogKey};
use super::manifest::{self, FoundManifest, LogManifest};
use super::plan::{self, Active, LogFile, RecoveryPlan};
use super::storage::Home;
use super::writer::GROUP_BYTES_MAX;
use super::{LogError, Note, SealedSegments, Tail, carry};

/// Torn tails that are kept; the oldest go first.
const TORN_MAX: usize = 16;
const TORN: &str = "torn-";

/// What opening the log found.
#[derive(Debug, Default)]
pub struct Recovery {
    pub(super) sealed: BTreeMap<u64, SealedSegments>,
    /// Bytes behind the last valid record that were not zero.
    pub torn_bytes: u64,
    /// Where they were kept.
    pub torn_kept: Option<PathBuf>,
    /// Damaged ranges in the last segment; the reader reports each.
    pub damaged: u64,
    /// Offset of the next record.
    pub next: u64,
    /// Segments carried over from an older format.
    pub carried: u64,
    /// What an operator should know.
    pub notes: Vec<Note>,
}

/// What opening makes of a directory.
pub(super) struct Opened {
    pub(super) key: LogKey,
    pub(super) tail: Tail,
    pub(super) recovery: Recovery,
}

/// What opening is asked for.
#[derive(Clone, Copy)]
pub(super) struct RecoveryWish {
    /// No record gets an offset below it.
    pub(super) floor: u64,
    pub(super) now_us: i64,
    /// Room in a new segment.
    pub(super) segment_bytes: u64,
}

/// A log while it is opened.
struct Opening<'a> {
    home: &'a Home,
    key: LogKey,
    wish: RecoveryWish,
    recovery: Recovery,
}

pub(super) fn open(home: &Home, wish: RecoveryWish) -> Result<Opened, LogError> {
    let mut recovery = Recovery::default();
    let names = home.list()?;
    let bases = file::bases(&names);
    // Before anything is made or mended: what is of a newer format stays as it is, and so does what nobody can read.
    let known = key::read(home)?;
    manifest::refuse_newer(home)?;
    let mut first_format = Vec::new();
    for base in &bases {
        if file::look(home, *base, known.as_ref())?.first_format {
            first_format.push(*base);
        }
    }
    let has_manifest = names.iter().any(|name| name == manifest::NAME);
    if known.is_none() && first_format.is_empty() && !has_manifest && !bases.is_empty() {
        refuse_foreign(home, &bases)?;
    }
    let needed = bases.len() > first_format.len() || has_manifest && !bases.is_empty();
    let key = key::open(home, needed, has_manifest, &mut recovery.notes)?;
    for leftover in file::LEFTOVERS.into_iter().filter(|leftover| names.iter().any(|name| name == leftover)) {
        home.remove(leftover)?;
    }
    if !has_manifest && first_format.len() == bases.len() {
        // From here on a process that dies leaves files which the next one takes as they are.
        write_manifest(home, &key, &LogManifest::default(), &mut FoundManifest::Missing)?;
    }
    let mut opening = Opening { home, key, wish, recovery };
    if !first_format.is_empty() {
        opening.carry_over(&bases, &first_format)?;
    }
    let mut found = LogManifest::read(home, &opening.key)?;
    let files = look(home, &opening.key, &file::bases(&home.list()?), &mut opening.recovery.notes)?;
    let tail = opening.settle(plan::plan(&found, &files), &files)?;
    let Opening { key, mut recovery, .. } = opening;
    let manifest = LogManifest { sealed: recovery.sealed.clone(), active: Some(tail.end.base) };
    write_manifest(home, &key, &manifest, &mut found)?;
    recovery.next = tail.end.next;
    Ok(Opened { key, tail, recovery })
}

/// Without a key, a manifest and a format that is known, these files are nobody's log.
fn refuse_foreign(home: &Home, bases: &[u64]) -> Result<(), LogError> {
    for base in bases {
        let name = file::name(*base);
        let mut magic = [0; 7];
        home.open(&name, false)?.read(&mut magic, 0)?;
        if &magic != b"TIDELOG" {
            let reason = "its first bytes are not TIDELOG".to_owned();
            return Err(LogError::Foreign { path: home.path(&name), reason });
        }
    }
    Ok(())
}

fn write_manifest(
    home: &Home,
    key: &LogKey,
    manifest: &LogManifest,
    found: &mut FoundManifest,
) -> Result<(), LogError> {
    let whole = FoundManifest::Whole(manifest.clone());
    if *found != whole {
        home.replace(manifest::NAME, manifest::SPARE, &manifest.encode(key))?;
        *found = whole;
    }
    Ok(())
}

/// The headers of all segments; a copy that is damaged is written anew from the other.
fn look(home: &Home, key: &LogKey, bases: &[u64], notes: &mut Vec<Note>) -> Result<BTreeMap<u64, LogFile>, LogError> {
    let mut files = BTreeMap::new();
    for base in bases {
        let looked = file::look(home, *base, Some(key))?;
        let name = file::name(*base);
        match looked.header {
            Some(header) if header.base == *base && !looked.damaged.is_empty() => {
                file::mend(home, key, &header, &looked.damaged)?;
                notes.push(Note::warning(format!(
                    "one copy of the header of segment {name} was damaged; it was written again from the other"
                )));
            }
            Some(_) => {}
            None => notes.push(Note::error(format!(
                "both copies of the header of segment {name} are damaged; what can be read of its records is read"
            ))),
        }
        files.insert(*base, LogFile { header: looked.header, bytes: looked.bytes });
    }
    Ok(files)
}

impl Opening<'_> {
    /// Puts the plan into effect; answers where the next record goes.
    fn settle(&mut self, plan: RecoveryPlan, files: &BTreeMap<u64, LogFile>) -> Result<Tail, LogError> {
        self.recovery.notes.extend(plan.notes);
        self.recovery.sealed = plan.sealed;
        for base in plan.remove {
            self.home.remove(&file::name(base))?;
        }
        for base in plan.foreign {
            let (name, foreign) = (file::name(base), format!("foreign-{base:020}-{}.bin", self.wish.now_us));
            self.home.rename(&name, &foreign)?;
            self.recovery
                .notes
                .push(Note::error(format!("{name} is no segment of this log; it was renamed to {foreign}")));
        }
        let tail = match plan.active {
            Active::None => return self.first(),
            Active::Lost(base) => Err(base),
            Active::At(base) => self.tail(base, files.get(&base).and_then(|file| file.header))?,
        };
        match tail {
            Ok(tail) if self.wish.floor > tail.end.next => {
                let (next, floor) = (tail.end.next, self.wish.floor);
                self.recovery.notes.push(Note::error(format!(
                "the log ends at offset {next}, but offset {floor} was read from it before: records were lost behind its end (was the directory restored from an older copy?); the next record gets offset {floor}"
            )));
                let before =
                    PreviousSegment { base: tail.end.base, end: next, bytes: tail.end.position, chain: tail.end.chain };
                self.follow(before, floor)
            }
            Ok(tail) => Ok(tail),
            Err(base) => {
                let bytes = files.get(&base).map_or(0, |file| file.bytes);
                let next = behind(base, self.wish.segment_bytes, self.wish.floor);
                self.recovery.notes.push(Note::error(format!(
                "segment {}, the newest of the log, is missing or damaged from end to end: how many records are gone from offset {base} on is not known; put the file back from a backup and start again, or go on without them",
                file::name(base)
            )));
                let before = PreviousSegment { base, end: next, bytes, chain: 0 };
                let tail = self.follow(before, next)?;
                let missing = files.get(&base).is_none_or(|file| file.header.is_some_and(|header| header.base != base));
                self.recovery.sealed.entry(base).and_modify(|sealed| sealed.missing = missing);
                Ok(tail)
            }
        }
    }

    /// The first segment of all.
    fn first(&mut self) -> Result<Tail, LogError> {
        if self.wish.floor > 0 {
            let floor = self.wish.floor;
            self.recovery.notes.push(Note::error(format!(
            "the log is empty, but offset {floor} was read from it before: if records were lost, restore them; the next record gets offset {floor}"
        )));
        }
        self.create(self.wish.floor, None)
    }

    /// Seals a segment as it is and begins another behind it, at `base`.
    fn follow(&mut self, before: PreviousSegment, base: u64) -> Result<Tail, LogError> {
        let tail = self.create(base, Some(before))?;
        let PreviousSegment { base, end, bytes, chain } = before;
        self.recovery
            .sealed
            .insert(base, SealedSegments { bytes, end, chain, sealed_at_us: self.wish.now_us, missing: false });
        Ok(tail)
    }

    fn create(&self, base: u64, before: Option<PreviousSegment>) -> Result<Tail, LogError> {
        let spare = file::prepare(self.home, self.wish.segment_bytes)?;
        let header = Header { base, created_us: self.wish.now_us, room: spare.len()?, before };
        file::create(self.home, &self.key, &header, &spare)?;
        Ok(Tail { file: spare, end: FrameEnd { base, position: file::DATA_AT, next: base, chain: 0 } })
    }

    /// Mends the end of the newest segment. `Err`: nothing in it can be read, or its end is cut off; a new one must follow.
    fn tail(&mut self, base: u64, header: Option<Header>) -> Result<Result<Tail, u64>, LogError> {
        let name = file::name(base);
        let file = self.home.open(&name, true)?;
        let bytes = file.read_whole(u64::MAX)?;
        let ended = end_of(&self.key, base, &bytes);
        let data = bytes.get(ended.data_at..).unwrap_or_default();
        let rest = bytes.get(ended.at..).unwrap_or_default();
        let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let cut_off = data.is_empty() || data.iter().any(|byte| *byte != 0);
        if header.is_none() && ended.end.next == base && cut_off {
            return Ok(Err(base));
        }
        self.recovery.damaged = ended.damaged;
        if torn > 0 {
            self.recovery.torn_kept = Some(self.keep_torn(&ended.end, &rest[..torn])?);
            self.recovery.torn_bytes = torn as u64;
            file.write_all(&vec![0; torn], ended.end.position)?;
        }
        let mut end = ended.end;
        if torn > 0 || !ended.marked {
            // What is kept may never have been synced; no reader sees a record before that.
            file.sync_data()?;
            let mark = mark(&self.key, &end);
            file.write_all(&mark, end.position)?;
            file.sync_data()?;
            end.position += mark.len() as u64;
        }
        let shortened = header.is_some_and(|header| (bytes.len() as u64) < header.room);
        if !shortened {
            return Ok(Ok(Tail { file, end }));
        }
        let cut = header.map_or(0, |header| header.room.saturating_sub(bytes.len() as u64));
        let next = behind(end.next, cut, self.wish.floor);
        self.recovery.notes.push(Note::error(format!(
        "segment {name}, the newest of the log, was cut short: how many records are gone from offset {} on is not known; put the file back from a backup and start again, or go on without them",
        end.next
    )));
        let before = PreviousSegment { base, end: next, bytes: end.position, chain: end.chain };
        self.follow(before, next).map(Ok)
    }

    fn keep_torn(&self, end: &FrameEnd, bytes: &[u8]) -> Result<PathBuf, LogError> {
        let mut kept: Vec<String> = self.home.list()?.into_iter().filter(|name| name.starts_with(TORN)).collect();
        kept.truncate(kept.len().saturating_sub(TORN_MAX - 1));
        kept.iter().try_for_each(|name| self.home.remove(name))?;
        let name = format!("{TORN}{:020}-{}-{}.bin", end.base, end.position, self.wish.now_us);
        let file = self.home.create(&name)?;
        file.write_all(bytes, 0)?;
        file.sync_all()?;
        Ok(self.home.path(&name))
    }

    /// Carries the segments of the first format over, in order.
    fn carry_over(&mut self, bases: &[u64], first_format: &[u64]) -> Result<(), LogError> {
        tracing::info!(segments = first_format.len(), "the intake log has an older format; it is carried over");
        let mut before: Option<PreviousSegment> = None;
        for (at, base) in bases.iter().enumerate() {
            if !first_format.contains(base) {
                before = self.carried_before(*base)?;
                continue;
            }
            let old = carry::Old { base: *base, next_base: bases.get(at + 1).copied(), before };
            let carried = carry::segment(self.home, &self.key, &old, self.wish.now_us)?;
            let end = carried.end;
            before = Some(PreviousSegment { base: *base, end: end.next, bytes: end.position, chain: end.chain });
            if !carried.torn.is_empty() {
                self.recovery.torn_kept = Some(self.keep_torn(&end, &carried.torn)?);
                self.recovery.torn_bytes = carried.torn.len() as u64;
            }
            self.recovery.carried += 1;
            tracing::info!(
                segment = %self.home.path(&file::name(*base)).display(),
                number = at + 1,
                of = bases.len(),
                records = carried.records,
                damaged = carried.damaged,
                "a segment of the intake log was carried over"
            );
        }
        Ok(())
    }

    /// What the segment behind one that was carried over before says of it.
    fn carried_before(&self, base: u64) -> Result<Option<PreviousSegment>, LogError> {
        let bytes = self.home.open(&file::name(base), false)?.read_whole(u64::MAX)?;
        let FrameEnd { next, position, chain, .. } = end_of(&self.key, base, &bytes).committed;
        Ok(Some(PreviousSegment { base, end: next, bytes: position, chain }))
    }
}

/// A number that no lost record can have had: `bytes` are lost behind the record before `next`, and a record takes eight
/// bytes at the least.
fn behind(next: u64, bytes: u64, floor: u64) -> u64 {
    next.saturating_add(bytes.max(GROUP_BYTES_MAX as u64) / 8).max(floor).saturating_add(1)
}
