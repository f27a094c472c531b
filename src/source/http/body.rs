//! Reading a request's body: bounded in bytes, time and how far it may inflate.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{self, HeaderMap};

use super::Limits;
use super::answer::Answer;
use crate::net::RequestBody as Incoming;

/// The whole body, inflated.
pub(super) async fn read(headers: &HeaderMap, body: Incoming, limits: &Limits) -> Result<Bytes, Answer> {
    let encoding = encoding(headers)?;
    let declared = body.size_hint().lower();
    if declared > limits.request_bytes_max as u64 {
        return Err(too_large(limits));
    }
    let wire = match tokio::time::timeout(limits.body_timeout, collect(body, limits)).await {
        Ok(wire) => wire?,
        Err(_) => return Err(Answer::Slow),
    };
    let Some(encoding) = encoding else { return Ok(wire) };
    inflate(encoding, &wire, limits)
}

fn too_large(limits: &Limits) -> Answer {
    let max = limits.request_bytes_max;
    Answer::bad("request-too-large", format!("the request body is larger than {max} bytes; send smaller batches"))
}

async fn collect(mut body: Incoming, limits: &Limits) -> Result<Bytes, Answer> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Answer::bad("broken-body", "the connection broke off in the body")) };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limits.request_bytes_max {
            return Err(too_large(limits));
        }
        // Most bodies arrive in one piece and need no copy.
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Answer> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let word = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match (word.as_str(), values.next()) {
        ("" | "identity", None) => Ok(None),
        ("gzip" | "x-gzip", None) => Ok(Some(Encoding::Gzip)),
        ("deflate", None) => Ok(Some(Encoding::Deflate)),
        ("br", None) => Ok(Some(Encoding::Brotli)),
        ("zstd", None) => Ok(Some(Encoding::Zstd)),
        _ => Err(Answer::bad("unsupported-encoding", "Content-Encoding takes one of gzip, deflate, br and zstd")),
    }
}

fn inflate(encoding: Encoding, wire: &[u8], limits: &Limits) -> Result<Bytes, Answer> {
    let cap = limits.inflated_bytes_max.min(wire.len().saturating_mul(limits.inflate_ratio_max));
    let garbled = |_| Answer::bad("malformed-encoding", "the body is not what its Content-Encoding says");
    let mut out = Vec::with_capacity(cap.min(wire.len().saturating_mul(4)));
    // One byte more than allowed tells "exactly full" from "too much".
    let take = cap as u64 + 1;
    match encoding {
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(wire).take(take).read_to_end(&mut out).map_err(garbled)?,
        // Clients disagree whether `deflate` has a zlib header; its first byte says which it is.
        Encoding::Deflate if wire.first().is_some_and(|byte| byte & 0x0f == 8) => {
            flate2::read::ZlibDecoder::new(wire).take(take).read_to_end(&mut out).map_err(garbled)?
        }
        Encoding::Deflate => {
            flate2::read::DeflateDecoder::new(wire).take(take).read_to_end(&mut out).map_err(garbled)?
        }
        Encoding::Brotli => {
            brotli_decompressor::Decompressor::new(wire, 4096).take(take).read_to_end(&mut out).map_err(garbled)?
        }
        Encoding::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(wire)
                .map_err(|_| Answer::bad("malformed-encoding", "the body is not what its Content-Encoding says"))?;
            decoder.take(take).read_to_end(&mut out).map_err(garbled)?
        }
    };
    if out.len() > cap {
        let (bytes, ratio) = (limits.inflated_bytes_max, limits.inflate_ratio_max);
        let message = format!("the body inflates to more than {bytes} bytes, or more than {ratio} times its size");
        return Err(Answer::bad("inflates-too-far", message));
    }
    Ok(out.into())
}
