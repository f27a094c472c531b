//! The first 16 bytes of every file of the log: magic, 8 bytes · format number u32 · CRC-32C of these 12 bytes u32.
//! They stay the same in every format to come, so that a build can name a file that is too new for it.

use std::path::Path;

use super::LogError;

pub(super) const BYTES: usize = 16;

pub(super) fn write(magic: &[u8; 8], format: u32) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(magic);
    bytes[8..12].copy_from_slice(&format.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The format number, when the preamble is whole. The magic may end in a digit of its own: that one is for builds that
/// knew no format numbers.
pub(super) fn format(bytes: &[u8], magic: &[u8; 8]) -> Option<u32> {
    let bytes = bytes.first_chunk::<BYTES>()?;
    let [.., a, b, c, d] = *bytes;
    let whole = bytes[..7] == magic[..7] && crc32c::crc32c(&bytes[..12]) == u32::from_le_bytes([a, b, c, d]);
    whole.then(|| u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]))
}

/// An error when a newer build wrote the file.
pub(super) fn refuse_newer(path: &Path, bytes: &[u8], magic: &[u8; 8], known: u32) -> Result<(), LogError> {
    match format(bytes, magic) {
        Some(format) if format > known => Err(LogError::Newer { path: path.to_owned(), format, known }),
        _ => Ok(()),
    }
}
