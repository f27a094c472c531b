//! What the archive of a log has, as far as the data directory knows: the file `archive.json`. When it is lost it is made again from the archive.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_log::{SealedFile, SegmentLog};
use tidegate_process::whole_file;

use crate::app::kept_json::{self, KeptJsonError};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;
/// Ranges that are named; of further ones the last one grows.
const LOST_MAX: usize = 1_000;

/// What the archive has, and how its copying goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptArchive {
    format: u32,
    /// Where it is: another place is another archive.
    pub place: String,
    /// Whether all records of the archive are among the segments below.
    #[serde(default)]
    pub is_known: bool,
    pub partitions: BTreeMap<u16, ArchivedPartition>,
    /// When a segment was last copied.
    pub last_copied_at: Option<String>,
    /// Why copying does not go on.
    pub failure: Option<String>,
}

/// What it has of one partition of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPartition {
    /// By their first offsets.
    pub segments: BTreeMap<u64, ArchivedSegment>,
    /// Sealed segments of the log that are not copied yet.
    pub waiting: u64,
    /// What the log had to give up before it was copied: the first offset, and the one behind the last.
    pub lost: Vec<(u64, u64)>,
}

/// A segment in the archive; also what stands in its record there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedSegment {
    pub format: u32,
    pub partition: u16,
    /// The offset of its first record.
    pub first: u64,
    /// The offset behind its last record.
    pub end: u64,
    pub bytes: u64,
    pub chain: u64,
    /// Microseconds since the epoch.
    pub sealed_at_us: i64,
    /// How often it was written anew without what was forgotten: the name of its file has it.
    pub generation: u32,
    pub sha256: String,
    pub index_bytes: u64,
    pub index_sha256: String,
}

impl ArchivedSegment {
    /// As the log knows it.
    pub const fn file(&self) -> SealedFile {
        let Self { first, end, bytes, chain, sealed_at_us, .. } = *self;
        SealedFile { first, end, bytes, chain, sealed_at_us }
    }

    /// Whether it is this segment, whatever was erased in it: nothing of these changes by that.
    pub fn is_of(&self, file: &SealedFile) -> bool {
        (self.first, self.end, self.bytes, self.chain) == (file.first, file.end, file.bytes, file.chain)
    }
}

impl KeptArchive {
    /// Of an archive that nobody knows anything of.
    pub(super) fn of(place: &str) -> Self {
        Self { format: FORMAT, place: place.to_owned(), ..Self::default() }
    }

    /// Whether it has segments of a partition that its log has not written.
    pub(super) fn has_others(&self, partition: u16, log: &SegmentLog) -> bool {
        let part = self.partitions.get(&partition);
        part.is_some_and(|part| part.segments.values().any(|segment| !log.may_have_written(&segment.file())))
    }

    /// Whether the log of a partition has given up records behind the last segment that is known: this is older than the archive, which has more.
    pub(super) fn lacks_some(&self, partition: u16, log: &SegmentLog) -> bool {
        let (part, oldest) = (self.partitions.get(&partition), log.oldest());
        let known_to = part.and_then(|part| part.segments.values().next_back()).map_or(0, |last| last.end);
        let is_lost = part.is_some_and(|part| part.lost.iter().any(|(from, to)| *from <= known_to && oldest <= *to));
        known_to < oldest && !is_lost
    }

    pub(super) fn note_lost(&mut self, partition: u16, from: u64, to: u64) {
        let lost = &mut self.partitions.entry(partition).or_default().lost;
        if lost.len() < LOST_MAX && lost.last().is_none_or(|last| last.1 < from) {
            lost.push((from, to));
        } else if let Some(last) = lost.last_mut() {
            last.1 = last.1.max(to);
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        whole_file::replace(path, &serde_json::to_vec(self)?)
    }
}

/// What was last known; none where there was never an archive.
///
/// # Errors
/// The file cannot be read, is damaged, or is of a newer build.
pub fn read(path: &Path) -> Result<Option<KeptArchive>, KeptJsonError> {
    kept_json::read(path, FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_lost_ranges_that_touch_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.json");
        let mut kept = KeptArchive::of("/mnt/archive");
        let segment = ArchivedSegment { first: 7, end: u64::MAX, chain: u64::MAX - 1, ..ArchivedSegment::default() };
        kept.partitions.entry(3).or_default().segments.insert(7, segment);
        for (from, to) in [(0, 5), (5, 9), (20, 21)] {
            kept.note_lost(3, from, to);
        }
        assert_eq!(kept.partitions[&3].lost, [(0, 9), (20, 21)]);
        kept.write(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(kept));
    }
}
