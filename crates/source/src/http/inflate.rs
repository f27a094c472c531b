//! Undoing a body's Content-Encoding, within bounds that no input can pass.
//!
//! Every decoder stops at the cap while it decodes, keeps a window of bounded size, reads all members or frames that
//! a body has, and takes nothing for whole that is cut short or goes on behind its end.

use hyper::header::{self, HeaderMap};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::answer::HttpAnswer;

/// The largest window of a zstd frame: what RFC 8878 asks every decoder to have. It is reserved, and touched only as
/// far as the cap allows.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;
/// The largest window of a brotli stream, as a power of two: 4 MiB, what encoders use unless told otherwise.
const BROTLI_WINDOW_BITS_MAX: u32 = 22;

/// Members of a gzip body, frames of a zstd body: each costs a start, however small it is.
const PIECES_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// Whether the decoder's memory is small by its format: a window of 32 KiB.
    pub(super) const fn is_small(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }
}

/// The encoding that a request names.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, HttpAnswer> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let word = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match (word.as_str(), values.next()) {
        ("" | "identity", None) => Ok(None),
        ("gzip" | "x-gzip", None) => Ok(Some(Encoding::Gzip)),
        ("deflate", None) => Ok(Some(Encoding::Deflate)),
        ("br", None) => Ok(Some(Encoding::Brotli)),
        ("zstd", None) => Ok(Some(Encoding::Zstd)),
        _ => Err(HttpAnswer::bad("unsupported-encoding", "Content-Encoding takes one of gzip, deflate, br and zstd")),
    }
}

/// How far a body may inflate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap {
    pub(super) bytes_max: usize,
    pub(super) ratio_max: usize,
}

/// Why a body does not inflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InflateStop {
    /// More than the cap.
    TooFar,
    /// A window that is not taken.
    Window,
    /// More members or frames than are taken.
    Pieces,
    Garbled,
}

/// What one body needed serves the next, so that a flood of them takes no more memory than one.
#[derive(Default)]
pub(super) struct Scratch {
    /// The inflated body.
    pub(super) bytes: Vec<u8>,
    zstd: FrameDecoder,
}

/// The body without its encoding, in the bytes of `scratch`.
pub(super) fn inflate(encoding: Encoding, wire: &[u8], cap: Cap, scratch: &mut Scratch) -> Result<(), HttpAnswer> {
    let max = cap.bytes_max.min(wire.len().saturating_mul(cap.ratio_max));
    scratch.bytes.clear();
    // Room for all at once: what is not written to costs nothing, and growing would hold everything twice.
    scratch.bytes.reserve_exact(max);
    let mut out = Out { bytes: &mut scratch.bytes, max };
    let inflated = match encoding {
        Encoding::Gzip => gzip(wire, &mut out),
        // Clients disagree whether `deflate` has a zlib header; its first byte says which it is.
        Encoding::Deflate => deflate(wire, wire.first().is_some_and(|byte| byte & 0x0f == 8), &mut out),
        Encoding::Brotli => brotli(wire, &mut out),
        Encoding::Zstd => zstd(wire, &mut scratch.zstd, &mut out),
    };
    match inflated {
        Ok(()) => Ok(()),
        Err(InflateStop::TooFar) => {
            let Cap { bytes_max, ratio_max } = cap;
            let message =
                format!("the body inflates to more than {bytes_max} bytes, or more than {ratio_max} times its size");
            Err(HttpAnswer::bad("inflates-too-far", message))
        }
        Err(InflateStop::Window) => Err(HttpAnswer::bad(
            "malformed-encoding",
            "the body asks for a larger window than is taken: 8 MiB with zstd, 22 bits (4 MiB) with brotli",
        )),
        Err(InflateStop::Pieces) => Err(HttpAnswer::bad(
            "malformed-encoding",
            format!("the body has more than {PIECES_MAX} gzip members or zstd frames; compress it as one"),
        )),
        Err(InflateStop::Garbled) => Err(HttpAnswer::bad(
            "malformed-encoding",
            "the body is not what its Content-Encoding says: it is damaged, cut short, or goes on behind its end",
        )),
    }
}

/// Inflated bytes, never more than `max`.
struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    max: usize,
}

impl Out<'_> {
    fn left(&self) -> usize {
        self.max - self.bytes.len()
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), InflateStop> {
        if bytes.len() > self.left() {
            return Err(InflateStop::TooFar);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads one decoder to its end.
fn drain(mut decoder: impl std::io::Read, out: &mut Out<'_>) -> Result<(), InflateStop> {
    let mut piece = [0; 16 << 10];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => out.push(&piece[..read])?,
            Err(_) => return Err(InflateStop::Garbled),
        }
    }
}

fn gzip(wire: &[u8], out: &mut Out<'_>) -> Result<(), InflateStop> {
    let mut rest = wire;
    for _ in 0..PIECES_MAX {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        drain(&mut member, out)?;
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(InflateStop::Pieces)
}

fn deflate(wire: &[u8], has_header: bool, out: &mut Out<'_>) -> Result<(), InflateStop> {
    let mut inflater = flate2::Decompress::new(has_header);
    let mut piece = [0; 16 << 10];
    loop {
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let rest = wire.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
        let status = inflater.decompress(rest, &mut piece, flate2::FlushDecompress::None);
        let status = status.map_err(|_| InflateStop::Garbled)?;
        let written = usize::try_from(inflater.total_out() - given).unwrap_or(usize::MAX);
        out.push(piece.get(..written).unwrap_or_default())?;
        if status == flate2::Status::StreamEnd {
            return if inflater.total_in() == wire.len() as u64 { Ok(()) } else { Err(InflateStop::Garbled) };
        }
        // Nothing in, nothing out: the stream ends before its end.
        if written == 0 && inflater.total_in() == taken {
            return Err(InflateStop::Garbled);
        }
    }
}

/// The window that a brotli stream's first bits ask for; `None` for those of the large-window variant.
fn brotli_window_bits(first: u8) -> Option<u32> {
    let bits = u32::from(first);
    match (bits & 1, bits >> 1 & 7, bits >> 4 & 7) {
        (0, _, _) => Some(16),
        (_, 0, 0) => Some(17),
        (_, 0, 1) => None,
        (_, 0, n) => Some(8 + n),
        (_, n, _) => Some(17 + n),
    }
}

fn brotli(wire: &[u8], out: &mut Out<'_>) -> Result<(), InflateStop> {
    use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
    let first = wire.first().ok_or(InflateStop::Garbled)?;
    if brotli_window_bits(*first).is_none_or(|bits| bits > BROTLI_WINDOW_BITS_MAX) {
        return Err(InflateStop::Window);
    }
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let (mut left, mut taken, mut total) = (wire.len(), 0, 0);
    let mut piece = [0; 16 << 10];
    loop {
        let (mut room, mut written) = (piece.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            wire,
            &mut room,
            &mut written,
            &mut piece,
            &mut total,
            &mut state,
        );
        out.push(&piece[..written])?;
        match result {
            BrotliResult::ResultSuccess if left == 0 => return Ok(()),
            BrotliResult::NeedsMoreOutput => {}
            // It wants more than there is, or there is more than it wants.
            _ => return Err(InflateStop::Garbled),
        }
    }
}

fn zstd(wire: &[u8], decoder: &mut FrameDecoder, out: &mut Out<'_>) -> Result<(), InflateStop> {
    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    let mut rest = wire;
    let (mut frames, mut pieces) = (0, 0);
    decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
    while !rest.is_empty() {
        pieces += 1;
        if pieces > PIECES_MAX {
            return Err(InflateStop::Pieces);
        }
        match decoder.init(&mut rest) {
            Ok(()) => frames += 1,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                rest = rest.get(length as usize..).ok_or(InflateStop::Garbled)?;
                continue;
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Err(InflateStop::Window),
            Err(_) => return Err(InflateStop::Garbled),
        }
        // The decoder keeps what its window spans, so the cap is set on what it decodes, not on what it gives.
        let most = BlockDecodingStrategy::UptoBytes(out.left() + 1);
        let finished = decoder.decode_blocks(&mut rest, most).map_err(|_| InflateStop::Garbled)?;
        if !finished {
            return Err(InflateStop::TooFar);
        }
        let (declared, before) = (decoder.content_size(), out.bytes.len());
        if decoder.can_collect() > out.left() {
            return Err(InflateStop::TooFar);
        }
        decoder.collect_to_writer(&mut *out.bytes).map_err(|_| InflateStop::Garbled)?;
        let is_whole = declared == 0 || declared == (out.bytes.len() - before) as u64;
        let told = decoder.get_checksum_from_data();
        if !is_whole || told.is_some() && told != decoder.get_calculated_checksum() {
            return Err(InflateStop::Garbled);
        }
    }
    if frames == 0 { Err(InflateStop::Garbled) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
