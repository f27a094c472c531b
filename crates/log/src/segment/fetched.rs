//! Segments that were fetched from the archive: which there are, and where their files lie.

use super::{LogInner, SealedSegments, Segments, file, lock};

/// Where they lie, below the directory of their partition.
pub(super) const FOLDER: &str = "fetched";

/// A segment that was fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchedSegment {
    pub(super) sealed: SealedSegments,
    /// The first offset of the segment that follows it.
    pub(super) next: u64,
}

impl Segments {
    /// Whether a segment was fetched, and the log itself does not have it.
    pub(super) fn is_fetched(&self, base: u64) -> bool {
        base != self.active && !self.sealed.contains_key(&base) && self.fetched.contains_key(&base)
    }

    /// Whether a segment can be read.
    pub(super) fn has(&self, base: u64) -> bool {
        base == self.active || self.sealed.contains_key(&base) || self.fetched.contains_key(&base)
    }
}

/// The name of a segment that was fetched.
pub(super) fn name(base: u64) -> String {
    format!("{FOLDER}/{}", file::name(base))
}

/// A segment that is written no more and can be read, and the name of its file.
pub(super) fn readable(inner: &LogInner, base: u64) -> Option<(SealedSegments, String)> {
    let segments = lock(&inner.segments);
    if segments.is_fetched(base) {
        return segments.fetched.get(&base).map(|fetched| (fetched.sealed, name(base)));
    }
    let sealed = segments.sealed.get(&base).copied().filter(|sealed| !sealed.missing)?;
    Some((sealed, file::name(base)))
}
