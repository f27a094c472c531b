//! Finding records by a key: in each sealed segment through its index, which is made where there is none, and in the segment that is being
//! written through one in memory that grows in the background and with each look, and becomes the index of the segment.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::key_index::{self, FoundPlaces, FramePlace, KeyIndex, READ_BYTES, RecordKey};
use super::reader::SegmentLogReader;
use super::{FoundRecords, LogEntry, LogError, SealedSegments, SegmentLog, lock};

/// Records that one look finds at most; of more, those that came first.
pub const FOUND_MAX: usize = 100;
/// Records of one segment that may have the key and are read: some have another one with the same hash.
const READ_MAX: usize = 2 * FOUND_MAX;

impl SegmentLog {
    /// Makes the index of one segment that has none, and removes those of segments that are gone; false when none is left to make, or it was
    /// over before. Then the one in memory takes in what has come to the segment that is being written.
    ///
    /// # Errors
    /// A segment cannot be read, or its index cannot be written.
    pub fn index_one(&self, key_of: RecordKey, is_over: &dyn Fn() -> bool) -> Result<bool, LogError> {
        let names = self.inner.home.list()?;
        let sealed = lock(&self.inner.segments).sealed.clone();
        for gone in key_index::bases(&names).filter(|base| !sealed.contains_key(base)) {
            self.inner.home.remove(&key_index::name(gone))?;
        }
        let there: Vec<u64> = key_index::bases(&names).collect();
        let without = sealed.iter().find(|(base, sealed)| !sealed.missing && !there.contains(base));
        match without {
            Some((base, sealed)) => {
                let erasures = self.inner.erasures.load(Ordering::Acquire);
                let Some(index) = self.make_index(*base, sealed, key_of, is_over)? else { return Ok(false) };
                self.write_index(index, sealed, erasures)?;
                Ok(true)
            }
            None => {
                let (base, end) = {
                    let segments = lock(&self.inner.segments);
                    (segments.active, segments.active_end)
                };
                self.take_in(&mut lock(&self.inner.open_index), base..end, key_of, is_over)?;
                Ok(false)
            }
        }
    }

    /// A reader that starts at `offset`. Where an index says from where to go on, it does not walk over the segment before that.
    ///
    /// # Errors
    /// The offset was trimmed away.
    pub fn reader_near(&self, offset: u64) -> Result<SegmentLogReader, LogError> {
        match self.frame_before(offset) {
            Some(place) => SegmentLogReader::near(Arc::clone(&self.inner), place, offset),
            None => self.reader(offset),
        }
    }

    /// A frame not far before a record, with the first offset of its segment, if an index knows one. An index that cannot be read knows nothing.
    fn frame_before(&self, offset: u64) -> Option<(u64, FramePlace)> {
        let (base, sealed) = {
            let segments = lock(&self.inner.segments);
            match segments.sealed.range(..=offset).next_back() {
                _ if segments.active <= offset => (segments.active, None),
                Some((base, sealed)) => (*base, Some(*sealed)),
                None => return None,
            }
        };
        let place = match sealed {
            _ if base == offset => None,
            Some(sealed) if sealed.missing => None,
            Some(sealed) => {
                let file = self.inner.home.find(&key_index::name(base), false).ok()??;
                key_index::place_before(&file, (base, &sealed), offset).ok()?
            }
            // Whoever fills it may take a while.
            None => {
                let open = self.inner.open_index.try_lock().ok().filter(|open| open.base() == base)?;
                open.place_before(offset)
            }
        };
        place.map(|place| (base, place))
    }

    /// Records that have the key, by their offsets, the first [`FOUND_MAX`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn find_key(
        &self,
        key: &[u8],
        key_of: RecordKey,
        is_over: &dyn Fn() -> bool,
    ) -> Result<FoundRecords, LogError> {
        let mut found = FoundRecords::default();
        let mut from = 0;
        while found.records.len() < FOUND_MAX {
            let (part, sealed) = self.part_from(from);
            let Some(sealed) = sealed else {
                self.find_open(part, (key, key_of), is_over, &mut found)?;
                break;
            };
            let base = part.start;
            from = base.saturating_add(1);
            if sealed.missing || is_over() {
                found.left.push(part);
                continue;
            }
            match self.places(base, &sealed, (key, key_of), is_over)? {
                Some(places) => self.read_all((base, places), (key, key_of), is_over, &mut found)?,
                None => found.left.push(part),
            }
        }
        found.has_more = found.records.len() >= FOUND_MAX;
        found.records.truncate(FOUND_MAX);
        Ok(found)
    }

    /// The first segment that begins at `from` or later: a sealed one, or else what is durable of the one that is being written. Asked anew for
    /// each, because a segment may be sealed while another one is looked at.
    fn part_from(&self, from: u64) -> (Range<u64>, Option<SealedSegments>) {
        let segments = lock(&self.inner.segments);
        match segments.sealed.range(from..).next() {
            Some((base, sealed)) => (*base..sealed.end, Some(*sealed)),
            None => (segments.active..segments.active_end, None),
        }
    }

    /// Where the key may be in a sealed segment; `None` when it was over before that was known.
    fn places(
        &self,
        base: u64,
        sealed: &SealedSegments,
        (key, key_of): (&[u8], RecordKey),
        is_over: &dyn Fn() -> bool,
    ) -> Result<Option<FoundPlaces>, LogError> {
        if let Some(file) = self.inner.home.find(&key_index::name(base), false)?
            && let Some(places) = key_index::look(&file, (base, sealed), key, READ_MAX)?
        {
            return Ok(Some(places));
        }
        let erasures = self.inner.erasures.load(Ordering::Acquire);
        let Some(made) = self.make_index(base, sealed, key_of, is_over)? else { return Ok(None) };
        let places = made.find(key, READ_MAX);
        if let Err(error) = self.write_index(made, sealed, erasures) {
            tracing::warn!(error = %error, "the index of a segment of the log could not be written; it is made again with the next look");
        }
        Ok(Some(places))
    }

    /// The index of a segment, whatever is there; `None` when it was over before.
    pub(super) fn make_index(
        &self,
        base: u64,
        sealed: &SealedSegments,
        key_of: RecordKey,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Option<KeyIndex>, LogError> {
        let mut index = self.begun_index(base);
        let mut reader = match self.reader_behind(&index) {
            // It was trimmed away meanwhile.
            Err(LogError::Trimmed { .. }) => return Ok(Some(index)),
            reader => reader?,
        };
        if !index.fill(&mut reader, sealed.end, key_of, is_over)? {
            return Ok(None);
        }
        Ok(Some(index))
    }

    /// What is in memory of a segment since it was written, and is in its file from now on.
    fn begun_index(&self, base: u64) -> KeyIndex {
        let mut open = lock(&self.inner.open_index);
        let index = KeyIndex::new(base);
        if open.base() == base { std::mem::replace(&mut *open, index) } else { index }
    }

    /// A reader of what an index has not taken in yet.
    fn reader_behind(&self, index: &KeyIndex) -> Result<SegmentLogReader, LogError> {
        match index.last_place() {
            Some(place) => SegmentLogReader::at(Arc::clone(&self.inner), (index.base(), place), index.next),
            None => self.reader(index.base()),
        }
    }

    /// Has the index in memory take in what is new of the segment that is being written; false when it was over before.
    fn take_in(
        &self,
        open: &mut KeyIndex,
        part: Range<u64>,
        key_of: RecordKey,
        is_over: &dyn Fn() -> bool,
    ) -> Result<bool, LogError> {
        if open.base() != part.start {
            *open = KeyIndex::new(part.start);
        }
        if open.next >= part.end {
            return Ok(true);
        }
        let mut reader = self.reader_behind(open)?;
        open.fill(&mut reader, part.end, key_of, is_over)
    }

    /// Writes an index that was made when so many segments had been written anew. If another one was since, it may have what was erased there:
    /// then it is not written, and made again.
    fn write_index(&self, index: KeyIndex, sealed: &SealedSegments, erasures: u64) -> Result<(), LogError> {
        // One at a time: they have one spare file.
        let _making = lock(&self.inner.making_index);
        if self.inner.erasures.load(Ordering::Acquire) != erasures {
            return Ok(());
        }
        let name = key_index::name(index.base());
        self.inner.home.replace(&name, key_index::SPARE, &index.encode(sealed))
    }

    /// The same in the segment that is being written, of which `part` is durable.
    fn find_open(
        &self,
        part: Range<u64>,
        (key, key_of): (&[u8], RecordKey),
        is_over: &dyn Fn() -> bool,
        found: &mut FoundRecords,
    ) -> Result<(), LogError> {
        let Range { start: base, end } = part;
        let places = {
            let mut open = lock(&self.inner.open_index);
            if !self.take_in(&mut open, base..end, key_of, is_over)? {
                found.left.push(open.next..end);
            }
            open.find(key, READ_MAX)
        };
        self.read_all((base, places), (key, key_of), is_over, found)
    }

    /// Reads the records at these places of a segment, and keeps those that have the key.
    pub(super) fn read_all(
        &self,
        (base, places): (u64, FoundPlaces),
        (key, key_of): (&[u8], RecordKey),
        is_over: &dyn Fn() -> bool,
        found: &mut FoundRecords,
    ) -> Result<(), LogError> {
        let end = places.last().map_or(0, |(last, _)| last.saturating_add(1));
        for (offset, place) in places {
            if found.records.len() >= FOUND_MAX {
                break;
            }
            if is_over() {
                found.left.push(offset..end);
                break;
            }
            let Some(entry) = self.entry_at(base, place, offset)? else { continue };
            let has_key = key_of(&entry.shared, &entry.own).is_some_and(|of| *of == *key);
            if has_key {
                // A copy, so that one record does not hold what was read around it.
                let copied = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
                found.records.push(LogEntry { offset, shared: copied(&entry.shared), own: copied(&entry.own) });
            }
        }
        Ok(())
    }

    fn entry_at(&self, base: u64, place: (u64, u64), offset: u64) -> Result<Option<LogEntry>, LogError> {
        let mut reader = SegmentLogReader::at(Arc::clone(&self.inner), (base, place), offset)?;
        let wanted = |entry: &LogEntry| entry.offset == offset;
        let chunk = reader.read(READ_BYTES, 1)?;
        if let Some(entry) = chunk.records.into_iter().find(wanted) {
            return Ok(Some(entry));
        }
        // What the index says of places is wrong, or the record is damaged: the whole segment is walked.
        let mut reader = match self.reader(offset) {
            Err(LogError::Trimmed { .. }) => return Ok(None),
            reader => reader?,
        };
        Ok(reader.read(READ_BYTES, 1)?.records.into_iter().find(wanted))
    }
}
