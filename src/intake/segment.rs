//! Segment files: names, the file header, preallocation.
//!
//! A segment is named after the offset of its first record. Its file begins with 32 bytes: `TIDELOG1` · base offset
//! u64 · created at, microseconds u64 · zero u32 · CRC-32C of the 28 bytes before u32. Space is written as zeros ahead of
//! use, so that a commit changes data blocks only and `fdatasync` has no metadata to write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;

pub(super) const HEADER_BYTES: u64 = 32;
const MAGIC: &[u8; 8] = b"TIDELOG1";
const SUFFIX: &str = ".log";
const SPARE: &str = "spare.tmp";

/// The path of the segment whose first record is `base`.
pub(super) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}{SUFFIX}"))
}

/// First offsets of the segments in `dir`, ascending.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io("could not list the log", dir))? {
        let entry = entry.map_err(Error::io("could not list the log", dir))?;
        let name = entry.file_name();
        let base: Option<u64> =
            name.to_str().and_then(|n| n.strip_suffix(SUFFIX)).and_then(|digits| digits.parse().ok());
        bases.extend(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Opens a segment and checks its header; answers its age and the file.
pub(super) fn open(dir: &Path, base: u64, write: bool) -> Result<(File, i64), Error> {
    let path = path(dir, base);
    let file = OpenOptions::new().read(true).write(write).open(&path).map_err(Error::io("could not open", &path))?;
    let mut header = [0; HEADER_BYTES as usize];
    let foreign = |reason: &str| Error::Foreign { path: path.clone(), reason: reason.to_owned() };
    file.read_exact_at(&mut header, 0).map_err(|_| foreign("its header is missing"))?;
    if &header[..8] != MAGIC {
        return Err(foreign("its first bytes are not TIDELOG1"));
    }
    let sum = u32::from_le_bytes([header[28], header[29], header[30], header[31]]);
    if crc32c::crc32c(&header[..28]) != sum || header[8..16] != base.to_le_bytes() {
        return Err(foreign("its header is damaged"));
    }
    let created = header[16..24].try_into().map(i64::from_le_bytes).unwrap_or_default();
    Ok((file, created))
}

/// Makes the segment that starts at `base`, from the spare file when one is ready.
pub(super) fn create(dir: &Path, base: u64, now_us: i64, bytes: u64) -> Result<File, Error> {
    let spare = dir.join(SPARE);
    if !spare.exists() {
        prepare(dir, bytes)?;
    }
    let path = path(dir, base);
    let file = OpenOptions::new().read(true).write(true).open(&spare).map_err(Error::io("could not open", &spare))?;
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&base.to_le_bytes());
    header[16..24].copy_from_slice(&now_us.to_le_bytes());
    let sum = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&header, 0).map_err(Error::io("could not write the header of", &spare))?;
    file.sync_data().map_err(Error::io("could not sync", &spare))?;
    std::fs::rename(&spare, &path).map_err(Error::io("could not name the new segment", &path))?;
    sync_dir(dir)?;
    Ok(file)
}

/// Writes the spare file for the segment after this one: zeros, synced, under a name that no reader looks at.
pub(super) fn prepare(dir: &Path, bytes: u64) -> Result<(), Error> {
    let spare = dir.join(SPARE);
    if spare.exists() {
        return Ok(());
    }
    let unfinished = dir.join("spare.part");
    let fill = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&unfinished)?;
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let step = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
            file.write_all_at(&zeros[..step], at)?;
            at += step as u64;
            // In small helpings: a commit of the live segment must not wait behind a whole one of zeros.
            file.sync_data()?;
        }
        file.sync_all()?;
        std::fs::rename(&unfinished, &spare)
    };
    fill().map_err(|cause| {
        // A half-written file would only take the space that is missing.
        let _ = std::fs::remove_file(&unfinished);
        Error::io("could not preallocate a segment", &spare)(cause)
    })
}

/// Makes names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("could not sync the directory", dir))
}
