//! What there should be against what there is: the manifest and the headers, compared. Nothing is written here.
//!
//! A segment that should be there and is not, is **missing**: its numbers stay known, and the reader reports them.

use std::collections::BTreeMap;

use super::file::{self, Header, PreviousSegment};
use super::manifest::{FoundManifest, LogManifest};
use super::{Note, SealedSegments};

/// A segment's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFile {
    pub(super) header: Option<Header>,
    pub(super) bytes: u64,
}

impl LogFile {
    /// False for another segment's file under this name. A file without a whole header may be what its name says.
    fn is(&self, base: u64) -> bool {
        self.header.is_none_or(|header| header.base == base)
    }

    fn before(&self) -> Option<PreviousSegment> {
        self.header.and_then(|header| header.before)
    }
}

/// What the log consists of.
#[derive(Debug, Default)]
pub(super) struct RecoveryPlan {
    pub(super) sealed: BTreeMap<u64, SealedSegments>,
    pub(super) active: Active,
    /// Files that trimming was about to remove when the process died.
    pub(super) remove: Vec<u64>,
    /// Files that are no segments of this log and stand where the next one may go.
    pub(super) foreign: Vec<u64>,
    pub(super) notes: Vec<Note>,
}

/// The segment to write on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Active {
    /// There is none yet.
    #[default]
    None,
    At(u64),
    /// It should be there and is not.
    Lost(u64),
}

pub(super) fn plan(found: &FoundManifest, files: &BTreeMap<u64, LogFile>) -> RecoveryPlan {
    let mut plan = RecoveryPlan::default();
    match found {
        FoundManifest::Whole(manifest) => match manifest.active {
            Some(active) => plan.by_manifest(manifest, active, files),
            None => plan.by_headers(files),
        },
        FoundManifest::Missing if files.is_empty() => {}
        FoundManifest::Missing | FoundManifest::Damaged => {
            let state = if *found == FoundManifest::Damaged { "damaged" } else { "missing" };
            plan.notes.push(Note::error(format!(
                "the log's manifest is {state}; it is made anew from the segments' headers. Segments lost before the oldest or behind the newest that is there cannot be noticed"
            )));
            plan.by_headers(files);
        }
    }
    plan.check_chain(files);
    plan
}

impl RecoveryPlan {
    fn by_manifest(&mut self, manifest: &LogManifest, active: u64, files: &BTreeMap<u64, LogFile>) {
        let oldest = manifest.sealed.keys().next().copied().unwrap_or(active);
        self.remove = files.range(..oldest).map(|(base, _)| *base).collect();
        self.sealed = manifest.sealed.clone();
        for (base, sealed) in &mut self.sealed {
            let file = files.get(base).filter(|file| file.is(*base));
            match file {
                None if !sealed.missing => self.notes.push(lost(*base, sealed.end, files.contains_key(base))),
                Some(_) if sealed.missing => {
                    self.notes.push(Note::info(format!("segment {} is there again", file::name(*base))));
                }
                Some(file) if file.bytes < sealed.bytes => {
                    let (name, bytes, should) = (file::name(*base), file.bytes, sealed.bytes);
                    self.notes.push(Note::error(format!("segment {name} has {bytes} bytes and should have {should}")));
                }
                _ => {}
            }
            sealed.missing = file.is_none();
        }
        for base in
            files.range(oldest..active).map(|(base, _)| *base).filter(|base| !manifest.sealed.contains_key(base))
        {
            let name = file::name(base);
            self.notes.push(Note::error(format!("{name} is no segment that the manifest names; it is not read")));
        }
        let mut newest = active;
        for (base, file) in files.range(active..).filter(|(base, _)| **base != active) {
            match file.header.zip(file.before()) {
                Some((header, before)) if header.base == *base && before.base == newest => {
                    let missing = !files.get(&newest).is_some_and(|file| file.is(newest));
                    if missing {
                        self.notes.push(lost(newest, before.end, files.contains_key(&newest)));
                    }
                    self.sealed.insert(newest, seal(before, header.created_us, missing));
                    newest = *base;
                }
                _ => self.foreign.push(*base),
            }
        }
        let there = files.get(&newest).is_some_and(|file| file.is(newest));
        self.active = if there { Active::At(newest) } else { Active::Lost(newest) };
    }

    fn by_headers(&mut self, files: &BTreeMap<u64, LogFile>) {
        let mut own: Vec<(u64, LogFile)> = Vec::new();
        for (base, file) in files {
            if file.is(*base) {
                own.push((*base, *file));
            } else {
                let name = file::name(*base);
                self.notes.push(Note::error(format!("{name} is the file of another segment; it is not read")));
            }
        }
        for pair in own.windows(2) {
            let [(base, file), (next_base, next)] = pair else { continue };
            let created_us = next.header.map_or(0, |header| header.created_us);
            let unknown = |end: u64| SealedSegments {
                bytes: file.bytes,
                end,
                chain: 0,
                sealed_at_us: created_us,
                missing: false,
            };
            let sealed = match next.before() {
                Some(before) if before.base == *base => seal(before, created_us, false),
                Some(before) if before.base > *base && before.base < *next_base => {
                    self.notes.push(lost(before.base, before.end, files.contains_key(&before.base)));
                    self.sealed.insert(before.base, seal(before, created_us, true));
                    unknown(before.base)
                }
                _ => unknown(*next_base),
            };
            self.sealed.insert(*base, sealed);
        }
        self.active = own.last().map_or(Active::None, |(base, _)| Active::At(*base));
    }

    /// Each header says how the segment before it ended.
    fn check_chain(&mut self, files: &BTreeMap<u64, LogFile>) {
        for (base, file) in files {
            let Some(before) = file.before().filter(|_| file.is(*base)) else { continue };
            let Some(known) = self.sealed.get(&before.base).filter(|known| known.chain != 0) else { continue };
            if (known.end, known.chain) != (before.end, before.chain) {
                let (name, other) = (file::name(*base), file::name(before.base));
                self.notes.push(Note::error(format!(
                    "segment {name} was written behind another segment {other} than the manifest names"
                )));
            }
        }
    }
}

fn seal(before: PreviousSegment, sealed_at_us: i64, missing: bool) -> SealedSegments {
    SealedSegments { bytes: before.bytes, end: before.end, chain: before.chain, sealed_at_us, missing }
}

fn lost(base: u64, end: u64, other: bool) -> Note {
    let (name, why) = (file::name(base), if other { "is the file of another segment" } else { "is missing" });
    let records = end.saturating_sub(base);
    Note::error(format!(
        "segment {name} {why}: {records} records from offset {base} up to {end} are gone; put the file back from a backup and start again, or go on without them"
    ))
}
