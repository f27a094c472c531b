//! The key of the log: 32 random bytes, made at its birth, kept beside it twice.
//!
//! Every frame, mark, header and manifest bears a check that only the key can make (SipHash-2-4), so no bytes of an
//! event are ever taken for one of them. `key` and `key.copy` are alike: preamble, key, CRC-32C of what stands before.

use std::hash::Hasher;
use std::path::Path;

use siphasher::sip::SipHasher24;
use tidegate_process::clock;

use super::storage::Home;
use super::{LogError, Note, preamble};

pub(super) const NAME: &str = "key";
pub(super) const COPY: &str = "key.copy";
const SPARE: &str = "key.tmp";
const MAGIC: &[u8; 8] = b"TIDELKEY";
const FORMAT: u32 = 1;
const BYTES: usize = preamble::BYTES + 32 + 4;

/// Makes the checks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct LogKey {
    bytes: [u8; 32],
}

/// What a check is about; a check for one thing never holds for another.
#[derive(Debug, Clone, Copy)]
pub(super) enum SealedBytes {
    Segment = 1,
    Manifest = 2,
}

impl LogKey {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        Self { bytes }
    }

    /// The check of a frame or a mark in the segment `base`.
    pub(super) fn of_frame(&self, base: u64, header: &[u8], table: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(self.bytes.first_chunk().unwrap_or(&[0; 16]));
        hasher.write(&base.to_le_bytes());
        hasher.write(header);
        hasher.write(table);
        hasher.finish()
    }

    /// The check of anything else.
    pub(super) fn of(&self, what: SealedBytes, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(self.bytes.last_chunk().unwrap_or(&[0; 16]));
        hasher.write(&[what as u8]);
        hasher.write(bytes);
        hasher.finish()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = preamble::write(MAGIC, FORMAT).to_vec();
        bytes.extend_from_slice(&self.bytes);
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Option<Self>, LogError> {
        preamble::refuse_newer(path, bytes, MAGIC, FORMAT)?;
        let Some((rest, sum)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
        let whole = bytes.len() == BYTES && crc32c::crc32c(rest) == u32::from_le_bytes(*sum);
        Ok(rest.last_chunk::<32>().filter(|_| whole && rest.starts_with(MAGIC)).map(|key| Self::new(*key)))
    }
}

/// What lies in the two places; `None` for a file that is missing or damaged.
fn look(home: &Home) -> Result<[Option<LogKey>; 2], LogError> {
    let mut found = [None, None];
    for (name, found) in [NAME, COPY].into_iter().zip(&mut found) {
        if let Some(handle) = home.find(name, false)? {
            *found = LogKey::decode(&home.path(name), &handle.read_whole(BYTES as u64 + 1)?)?;
        }
    }
    if let [Some(one), Some(other)] = &found
        && one != other
    {
        return Err(LogError::Key { path: home.path(NAME), reason: "it and key.copy hold different keys" });
    }
    Ok(found)
}

/// The key as it is; changes nothing.
pub(super) fn read(home: &Home) -> Result<Option<LogKey>, LogError> {
    let [one, other] = look(home)?;
    Ok(one.or(other))
}

/// The key; a lost copy is made again from the other. When there is none one is made, unless `needed`: then there are
/// files that only the lost key can read. `born`: the log was complete before, so that a copy can have been lost.
pub(super) fn open(home: &Home, needed: bool, born: bool, notes: &mut Vec<Note>) -> Result<LogKey, LogError> {
    let (key, mend): (LogKey, &[&str]) = match look(home)? {
        [Some(key), Some(_)] => (key, &[]),
        [Some(key), None] => (key, &[COPY]),
        [None, Some(key)] => (key, &[NAME]),
        [None, None] if needed => {
            return Err(LogError::Key { path: home.path(NAME), reason: "it and key.copy are both missing or damaged" });
        }
        [None, None] => (LogKey::new(clock::random()), &[COPY, NAME]),
    };
    for name in mend {
        home.replace(name, SPARE, &key.encode())?;
        if born {
            let path = home.path(name);
            notes.push(Note::warning(format!(
                "{}: this copy of the log's key was missing or damaged; it was made again from the other",
                path.display()
            )));
        }
    }
    Ok(key)
}

#[cfg(test)]
pub(super) fn for_tests() -> LogKey {
    LogKey::new(*b"thirty-two bytes that are known.")
}
