//! How a record lies on disk: a header of 24 bytes, then its payload.
//!
//! magic u32 · payload length u32 · offset u64 · CRC-32C of the payload u32 · CRC-32C of the first 20 bytes u32, all
//! little-endian. The two checksums are apart so that whoever builds frames can sum the payloads in parallel, and
//! the one writer only fills in the offset. A reader that has lost its way looks for the next header that sums up.

pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"TGr1");
pub(super) const HEADER_BYTES: usize = 24;
/// No record may be larger; a length above it is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 32 << 20;

/// Records on their way into the log, already framed. Built by whoever appends, off the writer's thread.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    count: u64,
}

impl Frames {
    /// With room for about `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), count: 0 }
    }

    /// Adds one record whose payload `write` appends. At most 32 MiB; the caller's limits lie far below.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER_BYTES, 0);
        write(&mut self.buffer);
        let payload = &self.buffer[start + HEADER_BYTES..];
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a record larger than the log takes");
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let sum = crc32c::crc32c(payload);
        let header = &mut self.buffer[start..start + HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        self.count += 1;
    }

    /// Records held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Copies the frames behind `staging`, numbered from `offset`.
    pub(super) fn number_into(&self, mut offset: u64, staging: &mut Vec<u8>) {
        let mut at = staging.len();
        staging.extend_from_slice(&self.buffer);
        while let Some(header) = staging.get_mut(at..at + HEADER_BYTES) {
            header[8..16].copy_from_slice(&offset.to_le_bytes());
            let sum = crc32c::crc32c(&header[..20]);
            header[20..24].copy_from_slice(&sum.to_le_bytes());
            at += HEADER_BYTES + u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            offset += 1;
        }
    }
}

/// A header that sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_bytes: usize,
    pub(super) offset: u64,
    pub(super) payload_sum: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if u32_at(0) != MAGIC || u32_at(20) != crc32c::crc32c(&header[..20]) {
            return None;
        }
        let payload_bytes = u32_at(4) as usize;
        let offset = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        (payload_bytes <= PAYLOAD_BYTES_MAX).then_some(Self { payload_bytes, offset, payload_sum: u32_at(16) })
    }

    /// Bytes from the header's start to the next frame.
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes
    }
}
