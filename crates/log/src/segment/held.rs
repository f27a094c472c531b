//! The log as it is at one moment, held open to be copied, whether a server writes it or not.
//!
//! Of the newest segment the copy has what was answered for, and zeros behind that as far as the file was made. The manifest of the copy names
//! what the copy has: a log that is opened from it has no torn tail and misses no segment that was there.

use std::io;
use std::path::Path;

use tidegate_process::held_file::HeldFile;

use super::inspect::inspect_settled;
use super::manifest::{self, LogManifest};
use super::storage::{Disk, Home};
use super::{LogError, Note, Severity, file, key};

/// Enough for a file of the key.
const KEY_BYTES_MAX: u64 = 1 << 10;

/// The log in a directory as it is at one moment.
#[derive(Debug, Default)]
pub struct HeldLog {
    /// What a copy of the directory consists of.
    pub files: Vec<HeldFile>,
    /// Offsets that were trimmed away are below this one.
    pub oldest: u64,
    /// The offset behind the last record that was answered for.
    pub end: u64,
    /// What is missing or damaged, as far as names and headers tell.
    pub notes: Vec<Note>,
}

/// Holds the log in `dir`. It has a file open for each segment, until the answer is dropped.
///
/// # Errors
/// A file cannot be read, the key is lost, or the log has a format that a server has to carry over first.
pub fn hold(dir: &Path) -> Result<HeldLog, LogError> {
    const TRIES: usize = 20;
    if !dir.exists() {
        return Ok(HeldLog::default());
    }
    let home = Disk::at(dir)?;
    for _ in 1..TRIES {
        match hold_now(&home) {
            // Trimmed between two looks.
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
    }
    hold_now(&home)
}

fn hold_now(home: &Home) -> Result<HeldLog, LogError> {
    let looked = inspect_settled(home)?;
    let mut held = HeldLog { oldest: looked.committed.base, end: looked.committed.next, ..HeldLog::default() };
    held.notes = looked.notes.into_iter().filter(|note| note.severity >= Severity::Warning).collect();
    for name in [key::NAME, key::COPY] {
        if let Some(handle) = home.find(name, false)? {
            held.files.push(HeldFile::of_bytes(name.to_owned(), handle.read_whole(KEY_BYTES_MAX)?));
        }
    }
    let Some(key) = looked.key else {
        if looked.end.next == 0 {
            return Ok(held);
        }
        let reason = "it has an older format, which a server carries over when it starts".to_owned();
        return Err(LogError::Foreign { path: home.path(""), reason });
    };
    for (base, sealed) in looked.sealed.iter().filter(|(_, sealed)| !sealed.missing) {
        let name = file::name(*base);
        let path = home.path(&name);
        // One that was sealed just now is not cut yet.
        let part = HeldFile::beginning(&path, name, sealed.bytes, 0);
        held.files.push(part.map_err(LogError::io("could not open", &path))?);
    }
    held.oldest = looked.sealed.keys().next().copied().unwrap_or(held.oldest);
    let newest = looked.committed;
    let name = file::name(newest.base);
    let is_there = !looked.sealed.contains_key(&newest.base) && home.find(&name, false)?.is_some();
    if is_there {
        let found = file::look(home, newest.base, Some(&key))?;
        let room = found.header.map_or(found.bytes, |header| header.room);
        let path = home.path(&name);
        let part = HeldFile::beginning(&path, name, newest.position, room);
        held.files.push(part.map_err(LogError::io("could not open", &path))?);
    }
    if is_there || !looked.sealed.is_empty() {
        // A newest segment that is gone stays known to be.
        let manifest = LogManifest { active: Some(newest.base), sealed: looked.sealed };
        held.files.push(HeldFile::of_bytes(manifest::NAME.to_owned(), manifest.encode(&key)));
    }
    Ok(held)
}
