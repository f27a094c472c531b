//! Fetches segments from the archive for whoever needs them, and removes them when nobody does any more.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidegate_api_types::privacy::{ForgottenVerified, FoundMarker};
use tidegate_event::subject::count_texts;
use tidegate_log::{FoundRecords, RecordKey};
use tidegate_object_store::{ObjectError, PART_BYTES};
use tokio::runtime::Handle;
use tokio::sync::{MutexGuard, watch};

use super::kept::ArchivedSegment;
use super::{ArchiveError, LogArchive, object_names};
use crate::api::{LookIntoArchive, LookingIntoArchive};

/// Segments one after the other that cannot be looked into, before it is given up.
const FAILURES_MAX: u32 = 3;

/// A segment that was fetched, until nobody has it any more.
pub(in crate::app) struct HeldSegment {
    archive: Arc<LogArchive>,
    partition: u16,
    first: u64,
    end: u64,
}

impl HeldSegment {
    pub(in crate::app) const fn partition(&self) -> u16 {
        self.partition
    }

    /// Its first offset, and the one behind its last.
    pub(in crate::app) const fn range(&self) -> Range<u64> {
        self.first..self.end
    }
}

impl Drop for HeldSegment {
    fn drop(&mut self) {
        let key = (self.partition, self.first);
        let mut held = self.archive.held.lock();
        let Some(count) = held.get_mut(&key) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        held.remove(&key);
        let Some(log) = self.archive.log_of(self.partition) else { return };
        if let Err(error) = log.remove_fetched(self.first) {
            tracing::warn!(error = %error, "a segment that was fetched from the archive could not be removed; it goes with the next start");
        }
    }
}

/// What becomes of the archive while somebody erases in it: nothing else.
pub(in crate::app) struct ArchiveTurn<'a> {
    archive: &'a LogArchive,
    _turn: MutexGuard<'a, ()>,
}

impl ArchiveTurn<'_> {
    /// Puts the segment that begins at an offset back, if the archive has it: it was written anew in the log, or where it was fetched. What it was
    /// before is gone then. False when the server stops before that. Blocks.
    pub(in crate::app) fn put_back(
        &self,
        (partition, first, is_fetched): (u16, u64, bool),
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, ArchiveError> {
        let archive = self.archive;
        let log = archive.log_of(partition).ok_or(ArchiveError::Gone)?;
        let found = archive.first_in(partition, &(first..first.saturating_add(1)));
        let Some(segment) = found.filter(|segment| segment.first == first) else { return Ok(true) };
        // Where the log has given it up meanwhile nothing is put back: what others fetched is as it was before.
        let path = if is_fetched { log.path_of_fetched(first) } else { log.path_of(first) };
        let Some(stored) = unless_stopped(archive.store((partition, segment.file()), path, stop), stop) else {
            return Ok(false);
        };
        stored?;
        fail::fail_point!("forget_put_back", |_| std::process::abort());
        Ok(true)
    }
}

/// Blocks until the archive has done something; `None` when the server stops before.
pub(in crate::app) fn unless_stopped<T>(work: impl Future<Output = T>, stop: &watch::Receiver<bool>) -> Option<T> {
    let mut stops = stop.clone();
    Handle::current().block_on(async {
        tokio::select! {
            _ = stops.wait_for(|stop| *stop) => None,
            done = work => Some(done),
        }
    })
}

/// A file that is removed when nobody needs it any more, also where whoever does leaves early. What cannot be removed is in a folder that the
/// next start empties.
struct LeftFile(PathBuf);

impl Drop for LeftFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl LogArchive {
    /// Has nobody copy or erase anything for as long as it is held; waits for whoever does, and is the next then.
    pub(in crate::app) async fn turn(&self) -> ArchiveTurn<'_> {
        ArchiveTurn { archive: self, _turn: self.turn.lock().await }
    }

    /// Fetches a segment that the log does not have any more, so that the log can read it. One that it has is not to be fetched: what is erased in
    /// it then would stay in the copy.
    pub(in crate::app) async fn fetch(
        self: &Arc<Self>,
        segment: &ArchivedSegment,
    ) -> Result<HeldSegment, ArchiveError> {
        let ArchivedSegment { partition, first, end, .. } = *segment;
        let log = self.log_of(partition).ok_or(ArchiveError::Gone)?;
        // One at a time: two who want the same one get the same one.
        let _fetching = self.fetching.lock().await;
        let is_there = {
            let mut held = self.held.lock();
            let count = held.get_mut(&(partition, first));
            count.map(|count| *count += 1).is_some()
        };
        if !is_there {
            let [name, _] = object_names(segment);
            let fetched = self.fetch_file((&name, segment.bytes), &segment.sha256, &log.path_of_fetched(first)).await;
            if let Err(ArchiveError::Object(ObjectError::Vanished { .. })) = &fetched {
                self.look_again(segment).await?;
            }
            fetched?;
            let next = self.first_from(partition, end).map_or_else(|| log.segment_from(end), |next| next.first);
            let mut held = self.held.lock();
            log.add_fetched(&segment.file(), next);
            held.insert((partition, first), 1);
        }
        Ok(HeldSegment { archive: Arc::clone(self), partition, first, end })
    }

    /// Looks for records with a key in a segment; fetches it only where its index says that they may be there.
    pub(in crate::app) async fn find(
        self: &Arc<Self>,
        segment: &ArchivedSegment,
        (key, key_of): (&[u8], RecordKey),
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<FoundRecords, ArchiveError> {
        let ArchivedSegment { partition, first, .. } = *segment;
        let log = self.log_of(partition).ok_or(ArchiveError::Gone)?;
        let [_, name] = object_names(segment);
        let places = {
            let _fetching = self.fetching.lock().await;
            let index = LeftFile(log.path_of_fetched_index(first));
            self.fetch_file((&name, segment.index_bytes), &segment.index_sha256, &index.0).await?;
            log.look_into_fetched_index(&segment.file(), key)?
        };
        let Some(places) = places else {
            return Err(self.damaged(&name, "it is not the index of its segment"));
        };
        if places.is_empty() {
            return Ok(FoundRecords::default());
        }
        let _held = self.fetch(segment).await?;
        Ok(log.read_places((first, places), (key, key_of), is_over)?)
    }

    /// Writes an object into a file, whose checksum is right then.
    async fn fetch_file(&self, (name, bytes): (&str, u64), sha256: &str, path: &Path) -> Result<(), ArchiveError> {
        let failed = |cause| ArchiveError::Disk { path: path.display().to_string(), cause };
        let unfinished = LeftFile(path.with_extension("unfinished"));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished.0).map_err(failed)?;
        if self.fetch_bytes(name, bytes, &file).await? != sha256 {
            return Err(self.damaged(name, "its checksum is not that of its record"));
        }
        std::fs::rename(&unfinished.0, path).map_err(failed)
    }

    async fn fetch_bytes(&self, name: &str, bytes: u64, file: &File) -> Result<String, ArchiveError> {
        let (mut hash, mut at) = (Sha256::new(), 0);
        while at < bytes {
            let end = bytes.min(at.saturating_add(PART_BYTES));
            let part = self.place.get_range(name, at..end).await?;
            hash.update(&part);
            let failed = |cause| ArchiveError::Disk { path: name.to_owned(), cause };
            file.write_all_at(&part, at).map_err(failed)?;
            at = end;
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    /// As the admin API calls it.
    pub(in crate::app) fn for_api(self: Arc<Self>) -> LookIntoArchive {
        Box::new(move |texts: Vec<String>| -> LookingIntoArchive { Box::pin(Arc::clone(&self).look_for(texts)) })
    }

    /// Counts how often texts stand in each segment, which is fetched for it.
    async fn look_for(self: Arc<Self>, texts: Vec<String>) -> Result<ForgottenVerified, String> {
        let mut verified = ForgottenVerified::default();
        for partition in 0..u16::try_from(self.logs.len()).unwrap_or(u16::MAX) {
            let (mut from, mut failures) = (0, 0);
            while let Some(segment) = self.first_from(partition, from) {
                from = segment.end.max(segment.first.saturating_add(1));
                let [name, _] = object_names(&segment);
                verified.files += 1;
                verified.bytes += segment.bytes;
                match self.count(&segment, texts.clone()).await {
                    Ok(count) => {
                        failures = 0;
                        let file = format!("{}/{name}", self.shown);
                        verified.found.extend((count > 0).then_some(FoundMarker { file, count }));
                    }
                    Err(error) => {
                        failures += 1;
                        verified.left_out.push(format!("{}/{name}: {error}", self.shown));
                    }
                }
                if failures >= FAILURES_MAX {
                    verified
                        .left_out
                        .push(format!("{}/{name}: everything behind it, for the archive is away", self.shown));
                    break;
                }
            }
        }
        Ok(verified)
    }

    async fn count(&self, segment: &ArchivedSegment, texts: Vec<String>) -> Result<u64, ArchiveError> {
        let log = self.log_of(segment.partition).ok_or(ArchiveError::Gone)?;
        let [name, _] = object_names(segment);
        let _fetching = self.fetching.lock().await;
        // Not as a segment that the log reads: it may have this one itself, and have erased in it since.
        let looked = LeftFile(log.path_of_fetched(segment.first).with_extension("looked"));
        self.fetch_file((&name, segment.bytes), &segment.sha256, &looked.0).await?;
        let work = move || {
            let LeftFile(path) = &looked;
            let counted = File::open(path).and_then(|mut file| count_texts(&mut file, &texts));
            counted.map_err(|cause| ArchiveError::Disk { path: path.display().to_string(), cause })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ArchiveError::Gone)?
    }
}
