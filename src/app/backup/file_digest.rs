//! What stands in files, as SHA-256.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tidegate_process::held_file::HeldFile;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A number of bytes and their SHA-256, in small hexadecimal letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FileDigest {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Of what a copy would be, without the zeros that end it; with `to` it is written there as well.
pub(super) fn of_held(held: &HeldFile, mut to: Option<&mut File>) -> io::Result<FileDigest> {
    let (mut buffer, mut hasher, mut at) = (vec![0_u8; CHUNK_BYTES], Sha256::new(), 0_u64);
    loop {
        let left = usize::try_from(held.bytes() - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let count = held.read_at(&mut buffer[..left], at)?;
        if count == 0 {
            return Ok(FileDigest { bytes: at, sha256: HEXLOWER.encode(&hasher.finalize()) });
        }
        hasher.update(&buffer[..count]);
        if let Some(to) = to.as_mut() {
            to.write_all(&buffer[..count])?;
        }
        at += count as u64;
    }
}

/// Of the file at `path`; with `to` it is written there as well.
pub(super) fn of_file(path: &Path, mut to: Option<&mut File>) -> io::Result<FileDigest> {
    let mut from = File::open(path)?;
    let (mut buffer, mut hasher, mut bytes) = (vec![0_u8; CHUNK_BYTES], Sha256::new(), 0_u64);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(FileDigest { bytes, sha256: HEXLOWER.encode(&hasher.finalize()) }),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        if let Some(to) = to.as_mut() {
            to.write_all(&buffer[..count])?;
        }
        bytes += count as u64;
    }
}
