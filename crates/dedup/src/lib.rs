//! The dedup index of one partition: which (source, messageId) came lately.
//!
//! Nouns: a **mark** (the hash of an id, and when it was first received), the **window** (how long a mark counts), the **tail**
//! (the latest marks, in memory and in a tail file), a **run** (the marks of a range of the log, sorted, in a file with a filter in
//! front), the **manifest** (which runs there are).
//!
//! Guarantees:
//! * An id is a duplicate when its first sighting lies within the window, exactly, by `receivedAt`. Ids are kept as 128 bits of
//!   SipHash under a key of the state, so nobody outside can make two of them collide.
//! * An offset says what is known: [`DedupIndex::known_to`]. The index never knows more of the log than the state has refined,
//!   so no event is taken for a duplicate of itself; what it knows less is marked again from the log, which comes to the same
//!   end. So it needs no transaction with the state, and whatever is lost of it comes back.
//! * Every byte that is read from a run is held against a checksum.
//! * Bounded: ids by [`DedupSettings::entries_max`], memory by the filters (11 bits an id) and three tails.
//!
//! This room does not know what an event is, and reads no clock.

mod filter;
mod format;
mod held;
mod import;
mod keeper;
mod manifest;
mod mark;
mod run;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use format::DedupError;
pub use held::hold;
pub use import::Import;
pub use mark::{IdKey, IdMark, Sighting};
pub use verify::{VerifiedIndex, verify};

use keeper::{Levels, Now, Shared};
use manifest::DedupManifest;
use mark::ByHash;
use run::MarkRun;
use tail::MarkTail;

/// Marks of a full tail: what a hash map of 128 Ki places takes before it grows.
const TAIL_MARKS: u64 = 114_688;
/// Full tails that may wait to become runs.
const FROZEN_MAX: usize = 2;
/// How long to wait for the thread behind the index before saying that it is behind.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The bounds of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupSettings {
    /// How long an id is remembered, microseconds.
    pub window_us: i64,
    /// Ids kept at most; more shorten the window, and the log says so.
    pub entries_max: u64,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self { window_us: 24 * 3_600_000_000, entries_max: 50_000_000 }
    }
}

/// What [`DedupIndex::look`] found; [`DedupIndex::keep`] it when the state has committed.
#[derive(Debug, Default)]
pub struct Looked {
    /// For each sighting whether its id had been seen within the window before.
    pub is_duplicate: Vec<bool>,
    marks: Vec<IdMark>,
}

/// See the head of this crate.
pub struct DedupIndex {
    key: IdKey,
    tail: MarkTail,
    tail_max: usize,
    newest_us: i64,
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    /// Room for what is read of a run.
    buffer: Vec<u8>,
}

impl DedupIndex {
    /// Opens the index in `dir`, making it when there is none, and starts its thread. What it knows of the log at or behind
    /// `refined_to` is forgotten; so is all that was made under another key.
    ///
    /// # Errors
    /// The directory cannot be read or written, or holds files of a newer build.
    pub fn open(dir: &Path, key: IdKey, settings: DedupSettings, refined_to: u64) -> Result<Self, DedupError> {
        format::create_dir(dir)?;
        let key_check = key.check();
        let (mut runs, mut covered_to) = (Vec::new(), 0);
        match DedupManifest::read(dir) {
            Ok(Some(manifest)) if manifest.key_check == key_check => {
                (runs, covered_to) = known_runs(dir, &manifest, refined_to)?;
            }
            Ok(Some(_)) => {
                tracing::warn!(dir = %dir.display(), "the dedup index is of another state, and is made anew from the log")
            }
            Ok(None) => {}
            Err(error @ DedupError::Damaged { .. }) => lost(&error),
            Err(other) => return Err(other),
        }
        remove_unlisted(dir, &runs)?;
        let (frozen, tail) = tails(dir, covered_to, key_check, refined_to)?;
        let levels = Levels { runs, frozen, covered_to };
        Self::begin(dir.to_owned(), key, settings, (levels, tail))
    }

    fn begin(
        dir: PathBuf,
        key: IdKey,
        settings: DedupSettings,
        (levels, tail): (Levels, MarkTail),
    ) -> Result<Self, DedupError> {
        let tail_max = TAIL_MARKS.min(settings.entries_max / 8).max(1) as usize;
        let newest_us = levels.runs.last().map_or(i64::MIN, |run| run.newest_us);
        let now = Now { levels: Arc::new(levels), newest_us, failure: None, stop: false };
        let shared = Shared { dir, settings, key_check: key.check(), now: Mutex::new(now), changed: Condvar::new() };
        let shared = Arc::new(shared);
        shared.manifest(&shared.now.lock().levels).write(&shared.dir)?;
        let keeper =
            keeper::run(Arc::clone(&shared)).map_err(DedupError::io("could not start the thread of", &shared.dir))?;
        Ok(Self { key, tail, tail_max, newest_us, shared, keeper: Some(keeper), buffer: Vec::new() })
    }

    /// The ids of all records below this offset are marked, as far as the window reaches.
    #[must_use]
    pub fn known_to(&self) -> u64 {
        self.tail.range.end
    }

    /// Marks that are kept.
    #[must_use]
    pub fn len(&self) -> u64 {
        let levels = self.levels();
        let frozen: usize = levels.frozen.iter().map(|tail| tail.len()).sum();
        levels.runs.iter().map(|run| run.count).sum::<u64>() + (frozen + self.tail.len()) as u64
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn levels(&self) -> Arc<Levels> {
        Arc::clone(&self.shared.now.lock().levels)
    }

    /// The same, if the thread behind the index has not found damage in them.
    fn sound_levels(&self) -> Result<Arc<Levels>, DedupError> {
        let now = self.shared.now.lock();
        match &now.failure {
            Some(DedupError::Damaged { path, what }) => Err(DedupError::damaged(path, what)),
            // It was to be made anew, and that failed.
            _ if self.keeper.is_none() => Err(DedupError::damaged(&self.shared.dir, "it has no thread")),
            _ => Ok(Arc::clone(&now.levels)),
        }
    }

    /// Which of `sightings`, the next of the log in its order, were seen within the window before.
    ///
    /// # Errors
    /// A run cannot be read, or is damaged; nothing has changed.
    pub fn look(&mut self, sightings: &[Sighting<'_>]) -> Result<Looked, DedupError> {
        let levels = self.sound_levels()?;
        let mut hashes = Vec::with_capacity(sightings.len());
        // Each id once, with its place in `firsts`.
        let mut place: ByHash<usize> = ByHash::with_capacity_and_hasher(sightings.len(), <_>::default());
        let mut ids = Vec::with_capacity(sightings.len());
        for sighting in sightings {
            let hash = self.key.hash(sighting);
            hashes.push(hash);
            place.entry(hash).or_insert_with(|| {
                ids.push(hash);
                ids.len() - 1
            });
        }
        let mut firsts = self.find(&levels, &ids)?;
        let mut looked = Looked::default();
        for (sighting, hash) in sightings.iter().zip(&hashes) {
            let received_at_us = sighting.received_at_us;
            let first = &mut firsts[place[hash]];
            let is_seen =
                first.is_some_and(|first| first.saturating_add(self.shared.settings.window_us) >= received_at_us);
            looked.is_duplicate.push(is_seen);
            if !is_seen {
                *first = Some(received_at_us);
                looked.marks.push(IdMark { hash: *hash, received_at_us });
            }
        }
        Ok(looked)
    }

    /// When each of `ids` was first received, by its newest mark.
    fn find(&mut self, levels: &Levels, ids: &[u128]) -> Result<Vec<Option<i64>>, DedupError> {
        let tails = || std::iter::once(&self.tail).chain(levels.frozen.iter().rev().map(|tail| &**tail));
        let mut firsts: Vec<Option<i64>> = ids.iter().map(|id| tails().find_map(|tail| tail.find(*id))).collect();
        let mut open: Vec<usize> = (0..ids.len()).filter(|at| firsts[*at].is_none()).collect();
        let mut candidates = Vec::new();
        for run in levels.runs.iter().rev() {
            candidates.clear();
            candidates.extend(open.iter().copied().filter(|at| run.may_hold(ids[*at])));
            for at in &candidates {
                firsts[*at] = run.find(ids[*at], &mut self.buffer)?;
            }
            open.retain(|at| firsts[*at].is_none());
        }
        Ok(firsts)
    }

    /// Marks what [`DedupIndex::look`] found new in `range`, which begins at [`DedupIndex::known_to`]. Call it when the state
    /// has committed the range.
    pub fn keep(&mut self, looked: &Looked, range: &Range<u64>) {
        let newest_us = looked.marks.iter().map(|mark| mark.received_at_us).max();
        // Of this range alone: a clock that was ahead and was set right must not make everything too old.
        self.newest_us = newest_us.unwrap_or(self.newest_us);
        self.tail.add(range, &looked.marks);
    }

    /// Whether it is time to [`DedupIndex::freeze`]: the tail is full, or its file could not be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tail.len() >= self.tail_max || (!self.tail.is_on_disk() && self.tail.len() > 0)
    }

    /// Lets the tail become a run. Call it when the state below [`DedupIndex::known_to`] is durable: a run is not taken apart
    /// again when the state turns out to be behind it, but thrown away and read from the log.
    ///
    /// # Errors
    /// As many tails wait as may, and they cannot be written.
    pub fn freeze(&mut self) -> Result<(), DedupError> {
        let mut now = self.shared.now.lock();
        while now.levels.frozen.len() >= FROZEN_MAX {
            if let Some(failure) = &now.failure {
                return Err(DedupError::Behind(failure.to_string()));
            }
            if self.shared.changed.wait_for(&mut now, WAIT_MAX).timed_out() {
                return Err(DedupError::Behind("the disk is slow".to_owned()));
            }
        }
        let next = MarkTail::create(&self.shared.dir, self.tail.range.end, self.shared.key_check);
        let full = std::mem::replace(&mut self.tail, next);
        let mut levels = Levels::clone(&now.levels);
        levels.frozen.push(Arc::new(full));
        now.levels = Arc::new(levels);
        now.newest_us = self.newest_us;
        drop(now);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Forgets the run at `damaged` and what follows it, or everything where that is no run. Ids are marked again from the log.
    ///
    /// # Errors
    /// A file cannot be written or removed; it may be called again.
    pub fn forget_from(&mut self, damaged: &Path, refined_to: u64) -> Result<(), DedupError> {
        self.stop();
        let levels = self.levels();
        let runs: Vec<Range<u64>> =
            levels.runs.iter().take_while(|run| run.path() != damaged).map(|run| run.head.range.clone()).collect();
        let is_run = runs.len() < levels.runs.len();
        let runs = if is_run { runs } else { Vec::new() };
        let covered_to = runs.last().map_or(0, |run| run.end);
        DedupManifest { key_check: self.key.check(), covered_to, runs }.write(&self.shared.dir)?;
        *self = Self::open(&self.shared.dir.clone(), self.key, self.shared.settings.clone(), refined_to)?;
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.now.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the thread of the dedup index has panicked");
        }
    }
}

impl Drop for DedupIndex {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes durable what the index in `dir` knows, beside whoever has it open: call it before the log gives up records.
///
/// # Errors
/// A file cannot be synced.
pub fn sync(dir: &Path) -> Result<(), DedupError> {
    for path in files(dir)?.into_iter().filter(|path| tail::first_of(path).is_some()) {
        match std::fs::File::open(&path).and_then(|file| file.sync_data()) {
            // It has become a run meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(DedupError::io("could not sync", &path))?,
        }
    }
    run::sync_dir(dir)
}

/// The runs of the manifest up to the first that is missing, damaged, or knows of the log at or behind `refined_to`.
fn known_runs(dir: &Path, manifest: &DedupManifest, refined_to: u64) -> Result<(Vec<Arc<MarkRun>>, u64), DedupError> {
    let mut runs: Vec<Arc<MarkRun>> = Vec::new();
    for range in &manifest.runs {
        let follows = runs.last().is_none_or(|run| run.head.range.end == range.start);
        if !follows || range.end > refined_to {
            break;
        }
        let path = dir.join(run::name_of(range));
        match MarkRun::open(&path) {
            Ok(run) if run.head.range == *range && run.head.key_check == manifest.key_check => runs.push(Arc::new(run)),
            Ok(_) => {
                lost(&DedupError::damaged(&path, "it is another run"));
                break;
            }
            Err(error @ DedupError::Damaged { .. }) => {
                lost(&error);
                break;
            }
            Err(error) if error.is_absent() => {
                lost(&DedupError::damaged(&path, "it is missing"));
                break;
            }
            // A reason that says nothing about the file, or one that only a newer build can read.
            Err(other) => return Err(other),
        }
    }
    let is_whole = runs.len() == manifest.runs.len() && manifest.covered_to <= refined_to;
    let covered_to = if is_whole { manifest.covered_to } else { runs.last().map_or(0, |run| run.head.range.end) };
    Ok((runs, covered_to))
}

fn lost(error: &DedupError) {
    tracing::error!(error = %error, "a part of the dedup index is lost; its ids are read from the log again, as far as that goes back");
}

/// Removes what no manifest names: runs that were not finished, and those that were merged or are lost.
fn remove_unlisted(dir: &Path, runs: &[Arc<MarkRun>]) -> Result<(), DedupError> {
    for path in files(dir)? {
        let is_listed = runs.iter().any(|run| run.path() == path);
        let is_ours = path.extension().is_some_and(|extension| extension == "run" || extension == "tmp");
        if is_ours && !is_listed {
            std::fs::remove_file(&path).map_err(DedupError::io("could not remove", &path))?;
        }
    }
    Ok(())
}

/// The files of `dir`, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>, DedupError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        paths.sort();
        Ok(paths)
    };
    read().map_err(DedupError::io("could not read", dir))
}

/// The tails that follow `covered_to` without a gap: all but the last are full. Other tail files are removed.
fn tails(
    dir: &Path,
    covered_to: u64,
    key_check: u64,
    refined_to: u64,
) -> Result<(Vec<Arc<MarkTail>>, MarkTail), DedupError> {
    let mut tails: Vec<MarkTail> = Vec::new();
    for path in files(dir)? {
        let Some(first) = tail::first_of(&path) else { continue };
        let next = tails.last().map_or(covered_to, |tail| tail.range.end);
        let tail = if first == next { MarkTail::read(&path, key_check, refined_to)? } else { None };
        match tail {
            Some(tail) => tails.push(tail),
            None => std::fs::remove_file(&path).map_err(DedupError::io("could not remove", &path))?,
        }
    }
    let tail = tails.pop().unwrap_or_else(|| MarkTail::create(dir, covered_to, key_check));
    Ok((tails.into_iter().map(Arc::new).collect(), tail))
}
