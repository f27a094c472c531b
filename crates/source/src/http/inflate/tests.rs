use std::io::Write;

use super::*;

const CAP: Cap = Cap { bytes_max: 5 << 20, ratio_max: 100 };

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// One uncompressed meta-block of at most 64 KiB, by hand: window bits, length, not last, then an empty last one.
fn brotli_of(bytes: &[u8]) -> Vec<u8> {
    let mut bits: u64 = 0;
    let mut at: usize = 0;
    for (value, width) in [(0, 1), (0, 1), (0, 2), (bytes.len() as u64 - 1, 16), (1, 1)] {
        bits |= value << at;
        at += width;
    }
    let mut out = bits.to_le_bytes()[..at.div_ceil(8)].to_vec();
    out.extend_from_slice(bytes);
    out.push(3);
    out
}

/// Text that compresses less than the ratio allows.
fn text() -> Vec<u8> {
    (0..4_000).flat_map(|n: u32| format!("{} ", n.wrapping_mul(2_654_435_761)).into_bytes()).collect()
}

fn inflate(encoding: Encoding, wire: &[u8], cap: Cap) -> Result<Vec<u8>, HttpAnswer> {
    let mut scratch = Scratch::default();
    // What another body left behind is not in the way.
    let _ = super::inflate(Encoding::Zstd, &zstd_of(&text())[..5_000], CAP, &mut scratch);
    super::inflate(encoding, wire, cap, &mut scratch)?;
    assert!(scratch.bytes.len() <= cap.bytes_max);
    Ok(scratch.bytes)
}

fn code(encoding: Encoding, wire: &[u8], cap: Cap) -> &'static str {
    match inflate(encoding, wire, cap) {
        Ok(_) => "taken",
        Err(HttpAnswer::Bad { code, .. }) => code,
        Err(other) => panic!("{other:?}"),
    }
}

fn all() -> Vec<(Encoding, Vec<u8>)> {
    let text = text();
    vec![
        (Encoding::Gzip, gzip_of(&text)),
        (Encoding::Deflate, zlib_of(&text)),
        (Encoding::Deflate, raw_of(&text)),
        (Encoding::Zstd, zstd_of(&text)),
        (Encoding::Brotli, brotli_of(&text)),
    ]
}

#[test]
fn what_is_cut_short_or_goes_on_is_never_taken_for_whole() {
    for (encoding, wire) in all() {
        assert_eq!(inflate(encoding, &wire, CAP).unwrap(), text(), "{encoding:?}");
        for cut in [0, 1, 3, wire.len() / 2, wire.len() - 4, wire.len() - 1] {
            assert_eq!(code(encoding, &wire[..cut], CAP), "malformed-encoding", "{encoding:?} cut at {cut}");
        }
        for behind in [&b"x"[..], b"{\"batch\":[]}", b"\0\0\0\0\0\0\0\0"] {
            let longer = [&wire, behind].concat();
            assert_eq!(code(encoding, &longer, CAP), "malformed-encoding", "{encoding:?} and {behind:?}");
        }
    }
}

#[test]
fn every_member_and_every_frame_counts() {
    assert_eq!(inflate(Encoding::Gzip, &[gzip_of(b"one "), gzip_of(b"two")].concat(), CAP).unwrap(), b"one two");
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'x', b'y', b'z'];
    let frames = [&zstd_of(b"one "), &skippable[..], &zstd_of(b"two")].concat();
    assert_eq!(inflate(Encoding::Zstd, &frames, CAP).unwrap(), b"one two");
    assert_eq!(code(Encoding::Zstd, &skippable, CAP), "malformed-encoding");
    assert_eq!(code(Encoding::Gzip, &gzip_of(b"").repeat(1_001), CAP), "malformed-encoding");
    assert_eq!(code(Encoding::Zstd, &zstd_of(b"").repeat(1_001), CAP), "malformed-encoding");
}

#[test]
fn every_decoder_stops_at_the_cap() {
    for (encoding, wire) in all() {
        let exact = Cap { bytes_max: text().len(), ratio_max: 1_000 };
        assert_eq!(code(encoding, &wire, exact), "taken", "{encoding:?}");
        assert_eq!(code(encoding, &wire, Cap { bytes_max: text().len() - 1, ..exact }), "inflates-too-far");
    }
    let zeros = vec![b' '; 4 << 20];
    for (encoding, wire) in [
        (Encoding::Gzip, gzip_of(&zeros)),
        (Encoding::Deflate, zlib_of(&zeros)),
        (Encoding::Deflate, raw_of(&zeros)),
        (Encoding::Zstd, zstd_of(&zeros)),
    ] {
        assert_eq!(code(encoding, &wire, CAP), "inflates-too-far", "{encoding:?}");
    }
}

#[test]
fn no_decoder_opens_a_window_of_any_size() {
    // A frame with the window of RFC 8878's advice is read, and one of twice that is not: header, then an empty block.
    let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 1, 0, 0];
    assert_eq!(code(Encoding::Zstd, &frame(13 << 3), CAP), "taken");
    assert_eq!(code(Encoding::Zstd, &frame(13 << 3 | 1), CAP), "malformed-encoding");
    assert_eq!(code(Encoding::Zstd, &frame(21 << 3), CAP), "malformed-encoding");
    // A frame of many blocks of one repeated byte stops at the cap, whatever its window would hold.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3];
    for _ in 0..1_000 {
        bomb.extend_from_slice(&[0x02, 0x00, 0x10, b'x']);
    }
    assert_eq!(code(Encoding::Zstd, &bomb, CAP), "inflates-too-far");
    assert_eq!(
        [0x00, 0x01, 0x21, 0x0b, 0x0d, 0x11].map(brotli_window_bits),
        [Some(16), Some(17), Some(10), Some(22), Some(23), None]
    );
    for first in [0x0d_u8, 0x0f, 0x11] {
        assert_eq!(code(Encoding::Brotli, &[first, 0, 0, 0, 0, 0], CAP), "malformed-encoding");
    }
}
