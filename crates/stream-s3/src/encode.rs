//! From messages to the bytes of files: one JSON text a line.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tidegate_stream::OutgoingMessage;

use crate::folder::ENDING;

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileCompression {
    None,
    #[default]
    Gzip,
    Zstd,
}

impl FileCompression {
    /// What the name of a file ends with.
    pub(crate) fn ending(self) -> String {
        let of_compression = match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        };
        format!("{ENDING}{of_compression}")
    }

    fn compressed(self, lines: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(lines),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&lines)?;
                encoder.finish()
            }
            Self::Zstd => Ok(compress_to_vec(lines.as_slice(), CompressionLevel::Fastest)),
        }
    }
}

/// A file that is not written yet.
#[derive(Debug, Clone)]
pub(crate) struct EncodedFile {
    /// Within the place.
    pub(crate) path: String,
    pub(crate) bytes: Bytes,
}

/// The files of a batch, each called `name` in the folder of its messages. What is of one folder keeps its order.
pub(crate) fn files(
    messages: Vec<OutgoingMessage>,
    compression: FileCompression,
    name: &str,
) -> std::io::Result<Vec<EncodedFile>> {
    let mut folders: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for message in messages {
        folders.entry(message.topic).or_default().push(message.payload);
    }
    let mut files = Vec::with_capacity(folders.len());
    for (folder, payloads) in folders {
        let bytes = compression.compressed(lines(&payloads))?;
        files.push(EncodedFile { path: format!("{folder}/{name}"), bytes: bytes.into() });
    }
    Ok(files)
}

/// Within a JSON text a line can only end between its tokens, where a space says the same.
fn lines(payloads: &[Bytes]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(payloads.iter().map(|payload| payload.len() + 1).sum());
    for payload in payloads {
        let start = lines.len();
        lines.extend_from_slice(payload);
        for byte in lines.iter_mut().skip(start) {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn message(topic: &str, payload: &'static str) -> OutgoingMessage {
        OutgoingMessage {
            index: 0,
            topic: topic.to_owned(),
            key: String::new(),
            headers: Vec::new(),
            message_id: String::new(),
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    fn batch() -> Vec<OutgoingMessage> {
        vec![message("b", r#"{"n":1.10}"#), message("a", "{\n\"n\":\r\n2}"), message("b", r#"{"n":"\n"}"#)]
    }

    #[test]
    fn a_file_has_one_text_a_line_and_a_folder_one_file() {
        let files = files(batch(), FileCompression::None, "x.jsonl").unwrap();
        let [a, b] = &files[..] else { panic!("{files:?}") };
        assert_eq!((&*a.path, &a.bytes[..]), ("a/x.jsonl", &b"{ \"n\":  2}\n"[..]));
        assert_eq!((&*b.path, &b.bytes[..]), ("b/x.jsonl", &b"{\"n\":1.10}\n{\"n\":\"\\n\"}\n"[..]));
    }

    #[test]
    fn what_is_compressed_is_the_same_when_it_is_read_and_when_it_is_written_again() {
        let plain = files(batch(), FileCompression::None, "x").unwrap();
        for compression in [FileCompression::Gzip, FileCompression::Zstd] {
            let (once, again) = (files(batch(), compression, "x").unwrap(), files(batch(), compression, "x").unwrap());
            for ((once, again), plain) in once.iter().zip(&again).zip(&plain) {
                assert_eq!(once.bytes, again.bytes);
                let mut read = Vec::new();
                if compression == FileCompression::Gzip {
                    flate2::read::GzDecoder::new(&once.bytes[..]).read_to_end(&mut read).unwrap();
                } else {
                    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&once.bytes[..]).unwrap();
                    decoder.read_to_end(&mut read).unwrap();
                }
                assert_eq!(read, plain.bytes);
            }
        }
    }
}
