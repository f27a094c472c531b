//! What a log has to do with its archive, which is somewhere else: sealed segments are named to whoever copies them, no segment is trimmed that
//! is not copied, and segments that were fetched back are read and erased like those of the log.
//!
//! A segment that was fetched lies in a folder of its own and is known for as long as somebody needs it. Behind it a reader goes on only where the
//! segment that follows is there as well; else the records are trimmed, and none is passed over.

use std::ops::Range;
use std::path::PathBuf;

use super::fetched::{self, FOLDER, FetchedSegment};
use super::key_index::{self, FoundPlaces, RecordKey};
use super::{FOUND_MAX, LogError, SealedSegments, SegmentLog, file, lock};
use crate::FoundRecords;

/// Places in a segment that one look gives.
const PLACES_MAX: usize = 200;

/// A segment that is written no more, as an archive knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFile {
    /// The offset of its first record.
    pub first: u64,
    /// The offset behind its last record.
    pub end: u64,
    pub bytes: u64,
    /// The hash over its frames; 0 when it is not known.
    pub chain: u64,
    pub sealed_at_us: i64,
}

impl SealedFile {
    fn of((base, sealed): (&u64, &SealedSegments)) -> Self {
        let SealedSegments { bytes, end, chain, sealed_at_us, missing: _ } = *sealed;
        Self { first: *base, end, bytes, chain, sealed_at_us }
    }

    const fn sealed(&self) -> SealedSegments {
        let Self { first: _, end, bytes, chain, sealed_at_us } = *self;
        SealedSegments { bytes, end, chain, sealed_at_us, missing: false }
    }
}

/// Where in an archived segment the records may be that have a key.
#[derive(Debug)]
pub struct ArchivedPlaces(FoundPlaces);

impl ArchivedPlaces {
    /// None of its records has the key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The name of the index that was fetched.
fn index_name(base: u64) -> String {
    format!("{FOLDER}/{}", key_index::name(base))
}

impl SegmentLog {
    /// Has nothing trimmed from now on that the archive does not have, but what `hard_cap_bytes` forces. `archived` are the offsets that can be read
    /// with its help: from the first one, and behind the last. It is `0..0` while nobody knows what the archive has.
    pub fn set_archived(&self, archived: Range<u64>) {
        lock(&self.inner.segments).archived = Some(archived);
    }

    /// The oldest offset that can be read with the help of the archive, where there is one.
    #[must_use]
    pub fn readable_from(&self) -> u64 {
        let segments = lock(&self.inner.segments);
        let oldest = segments.oldest();
        segments.archived.as_ref().map_or(oldest, |archived| archived.start.min(oldest))
    }

    /// The sealed segments that begin at `from` or later, oldest first; those whose files are gone are not among them.
    #[must_use]
    pub fn sealed_files(&self, from: u64) -> Vec<SealedFile> {
        let segments = lock(&self.inner.segments);
        segments.sealed.range(from..).filter(|(_, sealed)| !sealed.missing).map(SealedFile::of).collect()
    }

    /// The first offset of the first segment that begins at `from` or later.
    #[must_use]
    pub fn segment_from(&self, from: u64) -> u64 {
        let segments = lock(&self.inner.segments);
        segments.sealed.range(from..).next().map_or(segments.active, |(base, _)| *base)
    }

    /// Whether a segment can be one of this log, whatever was erased in it: it lies before all that the log has, or is one that the log has. What else
    /// has its offsets was written by another log, or by this one before an older copy of it was put back.
    #[must_use]
    pub fn may_have_written(&self, file: &SealedFile) -> bool {
        let segments = lock(&self.inner.segments);
        if file.end <= segments.oldest() {
            return true;
        }
        segments.sealed.get(&file.first).is_some_and(|own| {
            // Of one that was damaged not everything is known.
            let is_known = !own.missing && own.chain != 0;
            !is_known || (own.bytes, own.end, own.chain) == (file.bytes, file.end, file.chain)
        })
    }

    /// The file of a segment of the log.
    #[must_use]
    pub fn path_of(&self, first: u64) -> PathBuf {
        self.inner.home.path(&file::name(first))
    }

    /// Where a segment lies that was fetched.
    #[must_use]
    pub fn path_of_fetched(&self, first: u64) -> PathBuf {
        self.inner.home.path(&fetched::name(first))
    }

    /// Where the index of such a segment lies.
    #[must_use]
    pub fn path_of_fetched_index(&self, first: u64) -> PathBuf {
        self.inner.home.path(&index_name(first))
    }

    /// Makes the folder of segments that are fetched, empty.
    ///
    /// # Errors
    /// The folder cannot be emptied or made.
    pub fn prepare_fetched(&self) -> Result<(), LogError> {
        self.remove_all_fetched()?;
        let folder = self.inner.home.path(FOLDER);
        std::fs::create_dir(&folder).map_err(LogError::io("could not make the folder", &folder))
    }

    /// Removes the folder of segments that are fetched: those of a process that died are no use to anybody, and nobody erases anything in them.
    ///
    /// # Errors
    /// Some of it is still there.
    pub fn remove_all_fetched(&self) -> Result<(), LogError> {
        let folder = self.inner.home.path(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(LogError::io("could not empty the folder", &folder)(cause))
            }
            _ => Ok(()),
        }
    }

    /// Lets a segment be read whose file lies where [`SegmentLog::path_of_fetched`] says. `next` is the first offset of the one that follows it.
    pub fn add_fetched(&self, file: &SealedFile, next: u64) {
        let segment = FetchedSegment { sealed: file.sealed(), next };
        lock(&self.inner.segments).fetched.insert(file.first, segment);
    }

    /// Lets nobody read such a segment any more, and removes it with its index.
    ///
    /// # Errors
    /// A file is still there.
    pub fn remove_fetched(&self, first: u64) -> Result<(), LogError> {
        lock(&self.inner.segments).fetched.remove(&first);
        self.inner.home.remove(&index_name(first))?;
        self.inner.home.remove(&fetched::name(first))
    }

    /// The index of a segment of the log, or of one that was fetched, made anew; `None` when there is no such segment, or it was over before.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub fn key_index(
        &self,
        first: u64,
        key_of: RecordKey,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let Some((sealed, _)) = fetched::readable(&self.inner, first) else { return Ok(None) };
        let made = self.make_index(first, &sealed, key_of, is_over)?;
        Ok(made.map(|index| index.encode(&sealed)))
    }

    /// Where the index that was fetched says that records with a key may be; `None` when it is not there, or does not fit.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look_into_fetched_index(&self, file: &SealedFile, key: &[u8]) -> Result<Option<ArchivedPlaces>, LogError> {
        let Some(index) = self.inner.home.find(&index_name(file.first), false)? else { return Ok(None) };
        let places = key_index::look(&index, (file.first, &file.sealed()), key, PLACES_MAX)?;
        Ok(places.map(ArchivedPlaces))
    }

    /// Reads the records at these places of a segment that was fetched, and gives those that have the key, as [`crate::Log::find_key`] does.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub fn read_places(
        &self,
        (first, places): (u64, ArchivedPlaces),
        (key, key_of): (&[u8], RecordKey),
        is_over: &dyn Fn() -> bool,
    ) -> Result<FoundRecords, LogError> {
        let is_cut = places.0.len() >= PLACES_MAX;
        let mut found = FoundRecords::default();
        self.read_all((first, places.0), (key, key_of), is_over, &mut found)?;
        found.has_more = is_cut || found.records.len() >= FOUND_MAX;
        Ok(found)
    }
}
