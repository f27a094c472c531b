//! Write keys: where the SDKs put them, and which source they open.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hyper::header::{self, HeaderMap};
use sha2::{Digest, Sha256};

/// The write keys of all sources. Kept as SHA-256, so that a lookup's timing says nothing about a key's prefix.
#[derive(Clone, Default)]
pub struct WriteKeys {
    sources: Arc<HashMap<[u8; 32], Arc<str>>>,
    /// Of the longest key; nothing longer is worth a hash.
    bytes_max: usize,
}

impl std::fmt::Debug for WriteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} of them)", self.sources.len())
    }
}

impl WriteKeys {
    /// From pairs of write key and source name.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut sources, mut bytes_max) = (HashMap::new(), 0);
        for (key, source) in pairs {
            bytes_max = bytes_max.max(key.len());
            sources.insert(Sha256::digest(key).into(), Arc::from(source));
        }
        Self { sources: Arc::new(sources), bytes_max }
    }

    /// The source that `key` opens.
    pub(super) fn find(&self, key: &str) -> Option<Arc<str>> {
        if key.len() > self.bytes_max {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(key).into();
        self.sources.get(&digest).cloned()
    }

    /// The source of the first candidate that opens one.
    pub(super) fn choose(&self, candidates: &[String]) -> Option<Arc<str>> {
        candidates.iter().find_map(|key| self.find(key))
    }
}

/// Candidates outside the body, best first: the Authorization header (Basic, with or without the colon, padded or
/// not), then `?writeKey=`.
pub(super) fn outside(headers: &HeaderMap, query: Option<&str>) -> Vec<String> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, text)| {
            let text = text.trim();
            STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
        })
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(|pair| match pair.split_once(':') {
            Some((key, _)) => key.to_owned(),
            None => pair,
        });
    let asked =
        query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).find_map(|(name, value)| {
            is_write_key(name).then(|| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
        });
    basic.into_iter().chain(asked).filter(|key| !key.is_empty()).collect()
}

/// Whether a parameter's name, percent-encoded or not, says that its value is the write key.
pub(super) fn is_write_key(name: &str) -> bool {
    percent_encoding::percent_decode_str(name).eq("writeKey".bytes())
}
