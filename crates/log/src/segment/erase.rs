//! Erasing records of a segment that is written no more, while others read it.
//!
//! The segment is written anew under another name, synced, and renamed over the old one. Every record keeps its place, its length and its
//! CRC-32C: the last four bytes of what stands in its place are chosen so. The table of its frame is the same then, and with it the
//! check of the frame, the chain, what the next segment says of this one, and the manifest. So there is no moment at which a process
//! that dies leaves a log that does not fit together, and a reader goes on in the new file at the byte at which it was in the old one.
//! The checksum says of an erased record what 32 bits can say.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::file;
use super::frame::{FrameKind, MARK_BYTES, RecordGroup, part_at};
use super::scan::{ScanStep, SegmentScan};
use super::storage::FileHandle;
use super::{KeyIndex, LogInner, SealedSegments, fetched, key_index, lock};
use crate::{ErasedPart, Eraser, Erasing, LogEntry, LogError};

/// The bytes behind what stands in the place of an erased record: with them its checksum stays.
pub const ERASED_SPARE_BYTES: usize = 4;
/// Where the new file is written.
const SPARE: &str = "erase.tmp";
/// Bytes that are read at once, unless a frame is larger.
const READ_BYTES: usize = 4 << 20;

/// Writes the segment `base` anew without the records that `eraser` names; `None` when it is not there any more.
pub(super) fn segment(inner: &LogInner, base: u64, eraser: &mut dyn Eraser) -> Result<Option<ErasedPart>, LogError> {
    let _erasing = lock(&inner.erasing);
    let Some((sealed, name)) = fetched::readable(inner, base) else { return Ok(None) };
    let Some(old) = inner.home.find(&name, false)? else { return Ok(None) };
    let new = inner.home.create(SPARE)?;
    let copied = copy(inner, (base, sealed), (&old, &new), eraser);
    let erased = copied.and_then(|copied| new.sync_all().map(|()| copied));
    let (erased, is_changed) = match erased {
        Ok((erased, is_changed)) => (erased, is_changed),
        Err(error) => {
            // What is left of it would only take the space that may be missing.
            let _ = inner.home.remove(SPARE);
            return Err(error);
        }
    };
    fail::fail_point!("log_erase_written", |_| std::process::abort());
    if !is_changed {
        inner.home.remove(SPARE)?;
        return Ok(Some(erased));
    }
    // Whoever trims the log holds this until the files are gone.
    let _manifest = lock(&inner.manifest);
    if fetched::readable(inner, base).is_none_or(|(_, now)| now != name) {
        inner.home.remove(SPARE)?;
        return Ok(None);
    }
    // The index has hashes of what is erased, and it is made again. Whoever makes one now finds out by the counter.
    let _making = lock(&inner.making_index);
    inner.home.remove(&key_index::name(base))?;
    // What is in memory of the segment since it was written has those hashes too. Nobody fills it from the old file meanwhile.
    let mut open = lock(&inner.open_index);
    if open.base() == base {
        *open = KeyIndex::new(base);
    }
    inner.home.rename(SPARE, &name)?;
    // Also when the names cannot be synced: nobody goes on in the old file.
    inner.erasures.fetch_add(1, Ordering::AcqRel);
    drop(open);
    inner.home.sync_names()?;
    fail::fail_point!("log_erase_renamed", |_| std::process::abort());
    Ok(Some(erased))
}

/// Copies a segment, and says whether the copy is another one.
fn copy(
    inner: &LogInner,
    (base, sealed): (u64, SealedSegments),
    (old, new): (&FileHandle, &FileHandle),
    eraser: &mut dyn Eraser,
) -> Result<(ErasedPart, bool), LogError> {
    let mut editing = SegmentEditing { eraser, erased: ErasedPart::default(), edits: Vec::new() };
    let (mut before, mut after, mut is_changed) = (Sha256::new(), Sha256::new(), false);
    let mut head = vec![0; usize::try_from(file::DATA_AT).unwrap_or(usize::MAX)];
    let read = old.read(&mut head, 0)?;
    head.truncate(read);
    new.write_all(&head, 0)?;
    before.update(&head);
    after.update(&head);
    let (mut position, mut expected, mut want) = (file::DATA_AT, base, READ_BYTES);
    while position < sealed.bytes {
        let left = usize::try_from(sealed.bytes - position).unwrap_or(usize::MAX);
        let mut buffer = vec![0; want.min(left)];
        let read = old.read(&mut buffer, position)?;
        let last = read < buffer.len() || read == left;
        buffer.truncate(read);
        if buffer.is_empty() {
            break;
        }
        let bytes = Bytes::from(buffer);
        let limit = Some(sealed.end);
        let scan = SegmentScan { key: &inner.key, base, origin: position, bytes: &bytes, last, limit };
        let at = editing.all(&scan, &bytes, &mut expected);
        if at == 0 {
            // One frame, or one damaged range, is larger than the buffer.
            want = want.saturating_mul(4);
            continue;
        }
        want = READ_BYTES;
        let mut copied = bytes.get(..at).unwrap_or_default().to_vec();
        before.update(&copied);
        for (start, text) in editing.edits.drain(..) {
            if let Some(place) = copied.get_mut(start..start.saturating_add(text.len())) {
                place.copy_from_slice(&text);
                is_changed = true;
            }
        }
        after.update(&copied);
        new.write_all(&copied, position)?;
        position += at as u64;
    }
    let SegmentEditing { mut erased, .. } = editing;
    (erased.before, erased.after) = (format!("{:x}", before.finalize()), format!("{:x}", after.finalize()));
    Ok((erased, is_changed))
}

/// Walks the frames of a buffer, and keeps what is to be written over it.
struct SegmentEditing<'a> {
    eraser: &'a mut dyn Eraser,
    erased: ErasedPart,
    /// Where in the buffer, and what.
    edits: Vec<(usize, Vec<u8>)>,
}

impl SegmentEditing<'_> {
    /// Answers how much of the buffer was walked over.
    fn all(&mut self, scan: &SegmentScan<'_>, buffer: &Bytes, expected: &mut u64) -> usize {
        let mut at = 0;
        loop {
            match scan.step(at, *expected) {
                ScanStep::Group(group) => {
                    self.group(&group, buffer, at);
                    at = buffer.len().min(at + group.frame_bytes());
                    *expected = group.next;
                }
                ScanStep::Mark => at += MARK_BYTES,
                ScanStep::Damage { to, next } => {
                    self.erased.damaged += 1;
                    (at, *expected) = (to, next);
                }
                ScanStep::End => return buffer.len(),
                ScanStep::More => return at,
            }
        }
    }

    fn group(&mut self, group: &RecordGroup, buffer: &Bytes, at: usize) {
        let bytes = &buffer[at..buffer.len().min(at + group.frame_bytes())];
        let mut parts = group.parts(bytes);
        let Some((shared, shared_sum)) = parts.next() else { return };
        let Some(shared_bytes) = part_at(bytes, shared.clone(), shared_sum) else {
            self.erased.damaged += 1;
            return;
        };
        match group.kind {
            FrameKind::Records => {}
            FrameKind::Lost => {
                if self.eraser.lost(shared_bytes) {
                    self.edits
                        .extend(filled(Vec::new(), shared.len(), shared_sum).map(|text| (at + shared.start, text)));
                }
                return;
            }
            FrameKind::Skipped => return,
        }
        let shared_of_all = buffer.slice(at + shared.start..at + shared.end);
        let mut is_all = true;
        for (offset, (part, sum)) in (group.first..).zip(parts) {
            if part_at(bytes, part.clone(), sum).is_none() {
                self.erased.damaged += 1;
                is_all = false;
                continue;
            }
            let own = buffer.slice(at + part.start..at + part.end);
            match self.eraser.record(&LogEntry { offset, shared: shared_of_all.clone(), own }) {
                Erasing::Stays => is_all = false,
                Erasing::IsErased => self.erased.erased_before += 1,
                Erasing::With(text) => match filled(text, part.len(), sum) {
                    Some(text) => {
                        self.edits.push((at + part.start, text));
                        self.erased.records += 1;
                    }
                    None => {
                        self.erased.too_short += 1;
                        is_all = false;
                    }
                },
            }
        }
        if is_all && let Some(text) = self.eraser.shared(shared_bytes) {
            // What is too short for it has no more than four bytes of texts.
            self.edits.extend(filled(text, shared.len(), shared_sum).map(|text| (at + shared.start, text)));
        }
    }
}

/// `text` with bytes behind it, so that it is so long and has this CRC-32C; `None` when there is no room for those.
fn filled(mut text: Vec<u8>, length: usize, sum: u32) -> Option<Vec<u8>> {
    let room = length.checked_sub(ERASED_SPARE_BYTES).filter(|room| *room >= text.len())?;
    text.resize(room, 0);
    let behind = behind(crc32c::crc32c(&text), sum);
    text.extend_from_slice(&behind);
    Some(text)
}

/// The four bytes behind bytes with the CRC-32C `before`, with which all of it has the CRC-32C `wanted`: the register is taken back over
/// 32 bits.
fn behind(before: u32, wanted: u32) -> [u8; ERASED_SPARE_BYTES] {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut register = !wanted;
    for _ in 0..32 {
        register = if register >> 31 == 0 { register << 1 } else { ((register ^ POLYNOMIAL) << 1) | 1 };
    }
    (register ^ !before).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_stands_in_the_place_of_bytes_has_their_length_and_their_checksum(
            old in proptest::collection::vec(any::<u8>(), 0..200),
            text in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let sum = crc32c::crc32c(&old);
            match filled(text.clone(), old.len(), sum) {
                Some(new) => {
                    prop_assert_eq!((new.len(), crc32c::crc32c(&new)), (old.len(), sum));
                    prop_assert!(new.starts_with(&text));
                }
                None => prop_assert!(text.len() + ERASED_SPARE_BYTES > old.len()),
            }
        }
    }
}
