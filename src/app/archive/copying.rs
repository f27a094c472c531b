//! Copies segments to the archive, one after the other, and deletes those that it no longer keeps.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidegate_event::{record_id, time};
use tidegate_log::SealedFile;
use tidegate_object_store::{PART_BYTES, Replacement};
use tidegate_process::clock;
use tokio::sync::watch;
use tokio::time::sleep;

use super::kept::{ArchivedSegment, FORMAT, KeptArchive};
use super::{ArchiveError, LogArchive, folder, object_names, record_name};

/// Says of which data directory the archive is.
const OWNER: &str = "tidegate-archive.json";
/// Between two looks for segments.
const IDLE: Duration = Duration::from_secs(1);
/// After a failure.
const FAILED_PAUSE_MIN: Duration = Duration::from_secs(1);
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Segments of one partition that are copied before those of others.
const COPIED_MAX: usize = 16;
/// Segments that are deleted before others are copied.
const DELETED_MAX: usize = 16;
/// What is read of a file at once.
const READ_BYTES: usize = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct ArchiveOwner {
    format: u32,
    /// The id of the data directory.
    data: String,
}

impl LogArchive {
    /// Works until `stop` turns true. What is under way then is copied again after the next start.
    pub(in crate::app) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (mut is_claimed, mut failed_pause) = (false, FAILED_PAUSE_MIN);
        let stops = stop.clone();
        loop {
            let done = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                done = self.round(&mut is_claimed, &stops) => done,
            };
            self.note_failure(done.as_ref().err());
            let pause = match done {
                Ok(true) => continue,
                Ok(false) => {
                    failed_pause = FAILED_PAUSE_MIN;
                    IDLE
                }
                Err(_) => {
                    let pause = failed_pause;
                    failed_pause = (failed_pause * 2).min(FAILED_PAUSE_MAX);
                    pause
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Copies some segments of each partition; false when there was none. What is wrong with one partition stops no other.
    async fn round(&self, is_claimed: &mut bool, stop: &watch::Receiver<bool>) -> Result<bool, ArchiveError> {
        self.note_waiting();
        if !*is_claimed {
            self.claim().await?;
            self.find_segments().await?;
            *is_claimed = true;
        }
        let (mut has_copied, mut failed) = (false, None);
        for partition in self.partitions() {
            for _ in 0..COPIED_MAX {
                match self.copy_next(partition, stop).await {
                    Ok(true) => has_copied = true,
                    Ok(false) => break,
                    Err(error) => {
                        failed = failed.or(Some(error));
                        break;
                    }
                }
            }
        }
        self.note_waiting();
        self.delete_old().await?;
        failed.map_or(Ok(has_copied), Err)
    }

    fn partitions(&self) -> std::ops::Range<u16> {
        0..u16::try_from(self.logs.len()).unwrap_or(u16::MAX)
    }

    /// Takes a new archive for this data directory; refuses that of another one.
    async fn claim(&self) -> Result<(), ArchiveError> {
        let (found, tag) = self.place.read(OWNER).await?;
        if let Some(bytes) = found {
            let owner: ArchiveOwner = self.parsed(OWNER, &bytes)?;
            if owner.data == self.owner {
                return Ok(());
            }
            return Err(ArchiveError::Foreign { place: self.shown.clone() });
        }
        if self.is_known() {
            // What it had is somewhere else, and what came here now would be missing there.
            return Err(ArchiveError::Emptied { place: self.shown.clone(), file: self.file.display().to_string() });
        }
        let owner = ArchiveOwner { format: FORMAT, data: self.owner.clone() };
        match self.place.replace(OWNER, self.encoded(OWNER, &owner)?, &tag).await? {
            Replacement::Done(_) => Ok(()),
            Replacement::Lost => Err(self.damaged(OWNER, "somebody else has written it just now")),
        }
    }

    /// Reads the records of the archive, where what was known of it is lost.
    async fn find_segments(&self) -> Result<(), ArchiveError> {
        if self.is_known() {
            return Ok(());
        }
        let mut found = KeptArchive::of(&self.shown);
        for (partition, log) in self.partitions().zip(&self.logs) {
            let mut names = Vec::new();
            let each = |path: String, _: i64| names.extend(Some(path).filter(|path| path.ends_with(".json")));
            self.place.list(&folder(partition), each).await?;
            // The newest first: those are what a log does not have that was put back from an older copy.
            names.sort_unstable_by(|one, other| other.cmp(one));
            for name in names {
                let segment: ArchivedSegment = self.parsed(&name, &self.place.get(&name).await?)?;
                if segment.partition != partition || record_name(partition, segment.first) != name {
                    return Err(self.damaged(&name, "it says that it is another one"));
                }
                // Its offsets would count as archived, and replays would read what stands there.
                if !log.may_have_written(&segment.file()) {
                    return Err(ArchiveError::OtherSegment { place: self.shown.clone(), object: name });
                }
                found.partitions.entry(partition).or_default().segments.insert(segment.first, segment);
            }
        }
        {
            let mut kept = self.kept.lock();
            for (partition, part) in found.partitions {
                kept.partitions.entry(partition).or_default().segments = part.segments;
            }
            kept.is_known = true;
        }
        self.write_kept()?;
        self.is_known.store(true, Ordering::Release);
        self.tell_logs();
        Ok(())
    }

    /// The offset behind the last record of a partition that is archived.
    fn archived_to(&self, partition: u16) -> u64 {
        let kept = self.kept.lock();
        let segments = kept.partitions.get(&partition).map(|part| &part.segments);
        segments.and_then(|segments| segments.values().next_back()).map_or(0, |last| last.end)
    }

    /// Keeps how many segments wait.
    fn note_waiting(&self) {
        let mut has_changed = false;
        for partition in self.partitions() {
            let Some(log) = self.log_of(partition) else { continue };
            let waiting = log.sealed_files(self.archived_to(partition)).len() as u64;
            let mut kept = self.kept.lock();
            let part = kept.partitions.entry(partition).or_default();
            has_changed |= std::mem::replace(&mut part.waiting, waiting) != waiting;
        }
        if has_changed && let Err(error) = self.write_kept() {
            tracing::warn!(error = %error, "how the archive is could not be kept");
        }
    }

    fn write_kept(&self) -> Result<(), ArchiveError> {
        let kept = self.kept.lock();
        kept.write(&self.file).map_err(|cause| ArchiveError::Disk { path: self.file.display().to_string(), cause })
    }

    async fn copy_next(&self, partition: u16, stop: &watch::Receiver<bool>) -> Result<bool, ArchiveError> {
        let Some(log) = self.log_of(partition) else { return Ok(false) };
        if log.sealed_files(self.archived_to(partition)).is_empty() {
            return Ok(false);
        }
        // Nobody erases anything meanwhile: else the copy would have what is erased in the log.
        let _turn = self.turn.lock().await;
        let Some(file) = log.sealed_files(self.archived_to(partition)).first().copied() else { return Ok(false) };
        self.store((partition, file), log.path_of(file.first), stop).await?;
        Ok(true)
    }

    /// Has the archive have a segment as its file at `path` is now, whatever it has of it. Whoever calls has the turn.
    pub(super) async fn store(
        &self,
        (partition, file): (u16, SealedFile),
        path: PathBuf,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), ArchiveError> {
        // A folder may not be mounted any more.
        self.claim().await?;
        let name = record_name(partition, file.first);
        let (found, tag) = self.place.read(&name).await?;
        let before = match found {
            Some(bytes) => Some(self.parsed::<ArchivedSegment>(&name, &bytes)?),
            None => None,
        };
        let sha256 = hash_of_file(path.clone(), file.bytes).await?;
        if let Some(before) = &before {
            if !before.is_of(&file) {
                return Err(ArchiveError::OtherSegment { place: self.shown.clone(), object: name });
            }
            if before.sha256 == sha256 {
                self.keep(before.clone())?;
                // Whoever wrote it may have died before the one before was gone.
                return self.delete_before(before).await;
            }
        }
        let index = self.index(partition, file.first, stop).await?;
        let segment = ArchivedSegment {
            format: FORMAT,
            partition,
            first: file.first,
            end: file.end,
            bytes: file.bytes,
            chain: file.chain,
            sealed_at_us: file.sealed_at_us,
            generation: before.as_ref().map_or(0, |before| before.generation.saturating_add(1)),
            sha256,
            index_bytes: index.len() as u64,
            index_sha256: format!("{:x}", Sha256::digest(&index)),
        };
        let [log_name, index_name] = object_names(&segment);
        self.place.put_file(&log_name, &path, file.bytes).await?;
        fail::fail_point!("archive_copied", |_| std::process::abort());
        self.place.put(&index_name, index).await?;
        self.check((&log_name, file.bytes), &segment.sha256).await?;
        self.check((&index_name, segment.index_bytes), &segment.index_sha256).await?;
        match self.place.replace(&name, self.encoded(&name, &segment)?, &tag).await? {
            Replacement::Done(_) => {}
            Replacement::Lost => return Err(self.damaged(&name, "somebody else has written it just now")),
        }
        fail::fail_point!("archive_recorded", |_| std::process::abort());
        self.keep(segment.clone())?;
        self.delete_before(&segment).await
    }

    /// The index of a segment, which lies beside it in the archive.
    async fn index(&self, partition: u16, first: u64, stop: &watch::Receiver<bool>) -> Result<Bytes, ArchiveError> {
        let log = self.log_of(partition).cloned().ok_or(ArchiveError::Gone)?;
        let stops = stop.clone();
        let make = move || log.key_index(first, record_id::message_id, &|| *stops.borrow());
        let made = tokio::task::spawn_blocking(make).await.map_err(|_| ArchiveError::Gone)??;
        made.map(Bytes::from).ok_or(ArchiveError::Gone)
    }

    /// Reads the record of a segment once more whose file is gone: a data directory that was put back knows of what was replaced since. Whoever needs
    /// it tries again.
    pub(super) async fn look_again(&self, segment: &ArchivedSegment) -> Result<(), ArchiveError> {
        let name = record_name(segment.partition, segment.first);
        let (Some(bytes), _) = self.place.read(&name).await? else { return Ok(()) };
        let now: ArchivedSegment = self.parsed(&name, &bytes)?;
        if now.is_of(&segment.file()) && now.generation > segment.generation {
            self.keep(now)?;
        }
        Ok(())
    }

    /// Keeps that a segment is archived. The log may give it up then.
    fn keep(&self, segment: ArchivedSegment) -> Result<(), ArchiveError> {
        {
            let mut kept = self.kept.lock();
            kept.last_copied_at = Some(time::format(clock::now_us()));
            let part = kept.partitions.entry(segment.partition).or_default();
            part.segments.insert(segment.first, segment);
        }
        self.write_kept()?;
        self.tell_logs();
        Ok(())
    }

    /// Deletes what a segment was before it was written anew.
    async fn delete_before(&self, segment: &ArchivedSegment) -> Result<(), ArchiveError> {
        let Some(generation) = segment.generation.checked_sub(1) else { return Ok(()) };
        for name in object_names(&ArchivedSegment { generation, ..segment.clone() }) {
            self.place.delete_with_rest(&name).await?;
        }
        Ok(())
    }

    /// Deletes the oldest segments that are kept no longer.
    async fn delete_old(&self) -> Result<(), ArchiveError> {
        let Some(keep_us) = self.keep_us else { return Ok(()) };
        let sealed_before_us = clock::now_us().saturating_sub(keep_us);
        for partition in self.partitions() {
            for _ in 0..DELETED_MAX {
                let _turn = self.turn.lock().await;
                let oldest = self.log_of(partition).map_or(0, |log| log.oldest());
                let is_due = |of: &ArchivedSegment| of.first < oldest && of.sealed_at_us < sealed_before_us;
                let Some(segment) = self.first_from(partition, 0).filter(is_due) else { break };
                self.claim().await?;
                let record = record_name(partition, segment.first);
                // The record is the last, so that whoever dies before deletes them again.
                for name in object_names(&segment).into_iter().chain([record]) {
                    self.place.delete_with_rest(&name).await?;
                }
                if let Some(part) = self.kept.lock().partitions.get_mut(&partition) {
                    part.segments.remove(&segment.first);
                }
                self.write_kept()?;
                self.tell_logs();
            }
        }
        Ok(())
    }

    /// Reads an object back.
    async fn check(&self, (name, bytes): (&str, u64), sha256: &str) -> Result<(), ArchiveError> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at.saturating_add(PART_BYTES));
            hash.update(&self.place.get_range(name, at..end).await?);
            at = end;
        }
        let is_same = format!("{:x}", hash.finalize()) == sha256;
        if is_same { Ok(()) } else { Err(self.damaged(name, "its checksum is not that of what was written")) }
    }

    pub(super) fn damaged(&self, object: &str, reason: &str) -> ArchiveError {
        let (object, reason) = (object.to_owned(), reason.to_owned());
        ArchiveError::Damaged { place: self.shown.clone(), object, reason }
    }

    fn parsed<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
        let failed = |error: serde_json::Error| self.damaged(name, &format!("it is damaged: {error}"));
        // The number comes first: of a newer format nothing else is known.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(failed)?;
        if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
            let reason =
                format!("format {found}, and this build supports up to {FORMAT}; use the newer build that wrote it");
            return Err(self.damaged(name, &reason));
        }
        serde_json::from_value(value).map_err(failed)
    }

    fn encoded(&self, name: &str, value: &impl Serialize) -> Result<Bytes, ArchiveError> {
        let failed = |error: serde_json::Error| self.damaged(name, &error.to_string());
        serde_json::to_vec(value).map(Bytes::from).map_err(failed)
    }
}

/// The SHA-256 of the first `bytes` of a file.
pub(super) async fn hash_of_file(path: PathBuf, bytes: u64) -> Result<String, ArchiveError> {
    let work =
        move || hash_of(&path, bytes).map_err(|cause| ArchiveError::Disk { path: path.display().to_string(), cause });
    tokio::task::spawn_blocking(work).await.map_err(|_| ArchiveError::Gone)?
}

fn hash_of(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?.take(bytes);
    let (mut hash, mut buffer, mut found) = (Sha256::new(), vec![0; READ_BYTES], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        found += read as u64;
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    if found < bytes {
        // It will not get longer by waiting, and nothing behind it is archived before.
        return Err(std::io::Error::other(format!(
            "it has {found} bytes and should have {bytes}; put it back from a backup and start again, or move it away and start again to go on without its records"
        )));
    }
    Ok(format!("{:x}", hash.finalize()))
}
