//! The manifest: which runs there are. Written whole under another name, synced, renamed.
//!
//! Preamble · check of the key u64 · offset up to which ids are in runs or too old u64 · runs u64 · for each, the oldest
//! first, first offset u64 and end offset u64 · CRC-32C of the bytes before u32. All little-endian.

use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;

use crate::DedupError;
use crate::format;
use crate::run::sync_dir;

pub(crate) const NAME: &str = "manifest";
const SPARE: &str = "manifest.tmp";
const MAGIC: &[u8; 8] = b"TIDEDUPM";
/// Runs are merged, so there are some thirty.
const BYTES_MAX: u64 = 1 << 20;
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DedupManifest {
    pub(crate) key_check: u64,
    pub(crate) covered_to: u64,
    /// The offsets of each run, the oldest first.
    pub(crate) runs: Vec<Range<u64>>,
}

impl DedupManifest {
    /// `None` when there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, DedupError> {
        let path = dir.join(NAME);
        if path.metadata().is_ok_and(|found| found.len() > BYTES_MAX) {
            return Err(DedupError::damaged(&path, "it is too long"));
        }
        let bytes = match format::read(&path) {
            Err(error) if error.is_absent() => return Ok(None),
            other => other?,
        };
        format::check(&path, MAGIC, &bytes)?;
        Self::decode(&bytes).map(Some).ok_or_else(|| DedupError::damaged(&path, "it is not what was written"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (said, sum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(said).to_le_bytes() != *sum {
            return None;
        }
        let (longs, rest) = said.get(format::PREAMBLE_BYTES..)?.as_chunks::<8>();
        let mut longs = longs.iter().map(|long| u64::from_le_bytes(*long));
        let (key_check, covered_to, count) = (longs.next()?, longs.next()?, longs.next()?);
        let mut runs = Vec::new();
        while let (Some(start), Some(end)) = (longs.next(), longs.next()) {
            runs.push(start..end);
        }
        (rest.is_empty() && runs.len() as u64 == count).then_some(Self { key_check, covered_to, runs })
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), DedupError> {
        let mut bytes = format::preamble(MAGIC).to_vec();
        for long in [self.key_check, self.covered_to, self.runs.len() as u64] {
            bytes.extend_from_slice(&long.to_le_bytes());
        }
        for run in &self.runs {
            bytes.extend_from_slice(&run.start.to_le_bytes());
            bytes.extend_from_slice(&run.end.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let spare = dir.join(SPARE);
        let write = || -> io::Result<()> {
            fail::fail_point!("dedup_manifest_write", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
            let mut file = format::create(&spare)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&spare, dir.join(NAME))
        };
        write().map_err(DedupError::io("could not write", &spare))?;
        sync_dir(dir)
    }
}
