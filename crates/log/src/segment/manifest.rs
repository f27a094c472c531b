//! The manifest: which segments there should be. Written whole under another name, synced, renamed.
//!
//! Preamble · base of the segment being written u64 (all ones: none yet, take what is there) · count u32 · zero u32 ·
//! for each sealed segment base, end, bytes, chain, sealed at (microseconds) and 1 when it is missing, 8 bytes each ·
//! check u64.

use std::collections::BTreeMap;

use super::key::{LogKey, SealedBytes as Domain};
use super::storage::Home;
use super::{LogError, SealedSegments, preamble};

pub(super) const NAME: &str = "manifest";
pub(super) const SPARE: &str = "manifest.tmp";
/// The file that the writer has open ahead of the next roll.
pub(super) const AHEAD: &str = "manifest.next";
/// The file in which trimming writes: it may do so while the writer rolls.
pub(super) const TRIM: &str = "manifest.trim";
const MAGIC: &[u8; 8] = b"TIDEMANI";
const FORMAT: u32 = 1;
const NONE: u64 = u64::MAX;
const ENTRY_BYTES: usize = 48;
const FIXED_BYTES: usize = preamble::BYTES + 16 + 8;
/// No log has more segments than fit; a longer file is damage.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogManifest {
    pub(super) sealed: BTreeMap<u64, SealedSegments>,
    pub(super) active: Option<u64>,
}

/// What lies where the manifest should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundManifest {
    Whole(LogManifest),
    Damaged,
    Missing,
}

impl LogManifest {
    pub(super) fn encode(&self, key: &LogKey) -> Vec<u8> {
        let mut bytes = preamble::write(MAGIC, FORMAT).to_vec();
        bytes.extend_from_slice(&self.active.unwrap_or(NONE).to_le_bytes());
        bytes.extend_from_slice(&(self.sealed.len() as u64).to_le_bytes());
        for (base, sealed) in &self.sealed {
            let at = sealed.sealed_at_us.cast_unsigned();
            for field in [*base, sealed.end, sealed.bytes, sealed.chain, at, u64::from(sealed.missing)] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let check = key.of(Domain::Manifest, &bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads a manifest back; `None` when it is damaged.
    pub(super) fn decode(key: &LogKey, bytes: &[u8]) -> Option<Self> {
        let (rest, check) = bytes.split_last_chunk::<8>()?;
        if preamble::format(bytes, MAGIC) != Some(FORMAT)
            || key.of(Domain::Manifest, rest) != u64::from_le_bytes(*check)
        {
            return None;
        }
        let mut fields = rest.get(preamble::BYTES..)?.chunks_exact(8).map(|field| field.first_chunk().copied());
        let mut next = || fields.next().flatten().map(u64::from_le_bytes);
        let (active, count) = (next()?, next()?);
        if usize::try_from(count).ok()?.checked_mul(ENTRY_BYTES)?.checked_add(FIXED_BYTES)? != bytes.len() {
            return None;
        }
        let mut sealed = BTreeMap::new();
        for _ in 0..count {
            let (base, end, bytes, chain) = (next()?, next()?, next()?, next()?);
            let (at, missing) = (next()?.cast_signed(), next()? != 0);
            sealed.insert(base, SealedSegments { bytes, end, chain, sealed_at_us: at, missing });
        }
        Some(Self { sealed, active: (active != NONE).then_some(active) })
    }

    pub(super) fn read(home: &Home, key: &LogKey) -> Result<FoundManifest, LogError> {
        let Some(handle) = home.find(NAME, false)? else { return Ok(FoundManifest::Missing) };
        let bytes = handle.read_whole(BYTES_MAX)?;
        preamble::refuse_newer(&home.path(NAME), &bytes, MAGIC, FORMAT)?;
        Ok(Self::decode(key, &bytes).map_or(FoundManifest::Damaged, FoundManifest::Whole))
    }
}

/// An error when a newer build wrote the manifest.
pub(super) fn refuse_newer(home: &Home) -> Result<(), LogError> {
    let Some(handle) = home.find(NAME, false)? else { return Ok(()) };
    preamble::refuse_newer(&home.path(NAME), &handle.read_whole(preamble::BYTES as u64)?, MAGIC, FORMAT)
}
