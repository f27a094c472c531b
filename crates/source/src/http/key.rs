//! Write keys: where the SDKs put them, and which source they open.
//!
//! A key itself is kept nowhere: [`KeyHasher`] makes a keyed hash of it, and a request's key is looked up by its hash, so that
//! the time of a lookup says nothing about any key. A source has as many keys as it likes, each with a name and perhaps an end,
//! and what each of them is used for is counted. Keys of files and those of the catalog are hashed each in a way of their own, so
//! there are two tables, and a wrong key costs two hashes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac as _};
use hyper::header::{self, HeaderMap};
use sha2::Sha256;

/// No write key is longer; nothing longer is worth a hash.
pub const KEY_BYTES_MAX: usize = 512;

/// A request has a key or two; a body that holds thousands of them would try as many at once.
pub(super) const CANDIDATES_MAX: usize = 8;

/// Makes hashes of write keys, under a secret: who sees a hash cannot even try keys on it.
#[derive(Clone)]
pub struct KeyHasher(Arc<HashKey>);

type HashKey = dyn Fn(&str) -> [u8; 32] + Send + Sync;

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}

impl KeyHasher {
    /// With HMAC-SHA-256.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        // A block of HMAC: what is shorter is filled up with zeros anyway.
        let mut block = [0; 64];
        block[..32].copy_from_slice(secret);
        let keyed: Hmac<Sha256> = Hmac::new(&block.into());
        Self::of(move |key: &str| keyed.clone().chain_update(key).finalize().into_bytes().into())
    }

    /// As whoever keeps the keys hashes them.
    #[must_use]
    pub fn of(hash: impl Fn(&str) -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(hash))
    }

    #[must_use]
    pub fn hash(&self, key: &str) -> [u8; 32] {
        (self.0)(key)
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// A file of the workspace.
    File,
    /// The catalog: somebody made it over the API.
    Catalog,
}

/// A key that opens a source.
#[derive(Debug, Clone)]
pub struct WriteKey {
    pub source: Arc<str>,
    /// Unique among the keys of its source that have this origin.
    pub name: Arc<str>,
    pub origin: KeyOrigin,
    /// Of the [`KeyHasher`] of all keys of this origin.
    pub hash: [u8; 32],
    /// When it was made or, where nobody knows that, first read.
    pub created_at_us: i64,
    /// From when on it opens nothing.
    pub ends_at_us: Option<i64>,
    pub uses: Arc<KeyUses>,
}

impl WriteKey {
    /// Whether its end has come.
    #[must_use]
    pub fn has_ended(&self, now_us: i64) -> bool {
        self.ends_at_us.is_some_and(|end| end <= now_us)
    }

    /// When it was made. A key in a file bears no date: when it was first used, and none before that.
    #[must_use]
    pub fn known_since_us(&self) -> Option<i64> {
        match self.origin {
            KeyOrigin::File => self.uses.first_us(),
            KeyOrigin::Catalog => Some(self.created_at_us),
        }
    }

    /// What tells it from every other key.
    fn identity(&self) -> (&str, &str, &[u8; 32]) {
        (&self.source, &self.name, &self.hash)
    }
}

/// What a write key was used for.
#[derive(Debug)]
pub struct KeyUses {
    events: AtomicU64,
    /// Of the first request that showed it; `i64::MAX` before that.
    first_us: AtomicI64,
    /// Of the last one; `i64::MIN` before the first.
    last_us: AtomicI64,
}

impl Default for KeyUses {
    fn default() -> Self {
        Self::kept(0, i64::MAX, i64::MIN)
    }
}

impl KeyUses {
    /// Those that were counted before: events, and when the key was shown first and last (microseconds since the Unix epoch).
    #[must_use]
    pub fn kept(events: u64, first_us: i64, last_us: i64) -> Self {
        let (first_us, last_us) = (AtomicI64::new(first_us), AtomicI64::new(last_us));
        Self { events: AtomicU64::new(events), first_us, last_us }
    }

    /// Events that were accepted under it.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// When somebody last sent something under it, accepted or not: while that moves, a client would miss the key.
    #[must_use]
    pub fn last_us(&self) -> Option<i64> {
        Some(self.last_us.load(Ordering::Relaxed)).filter(|last| *last != i64::MIN)
    }

    /// When somebody first sent something under it, accepted or not.
    #[must_use]
    pub fn first_us(&self) -> Option<i64> {
        Some(self.first_us.load(Ordering::Relaxed)).filter(|first| *first != i64::MAX)
    }

    pub(super) fn note_shown(&self, now_us: i64) {
        if now_us < self.first_us.load(Ordering::Relaxed) {
            self.first_us.fetch_min(now_us, Ordering::Relaxed);
        }
        self.last_us.fetch_max(now_us, Ordering::Relaxed);
    }

    pub(super) fn note_accepted(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }
}

/// Keys that are hashed in one way.
#[derive(Debug)]
struct KeyTable {
    hasher: KeyHasher,
    keys: HashMap<[u8; 32], Arc<WriteKey>>,
}

impl KeyTable {
    fn new(hasher: KeyHasher, keys: impl IntoIterator<Item = WriteKey>) -> Self {
        Self { hasher, keys: keys.into_iter().map(|key| (key.hash, Arc::new(key))).collect() }
    }

    fn get(&self, key: &str) -> Option<&Arc<WriteKey>> {
        // Nothing is found in an empty table, so no hash is made for it.
        if self.keys.is_empty() { None } else { self.keys.get(&self.hasher.hash(key)) }
    }
}

/// The write keys of all sources.
#[derive(Debug)]
pub struct WriteKeys {
    /// Looked at in this order.
    tables: Vec<KeyTable>,
}

impl WriteKeys {
    /// Of two keys with one hash the later counts.
    #[must_use]
    pub fn new(hasher: KeyHasher, keys: impl IntoIterator<Item = WriteKey>) -> Self {
        Self { tables: vec![KeyTable::new(hasher, keys)] }
    }

    /// These and others, which are hashed in another way. A text that is a key of both is one of those that were there first.
    #[must_use]
    pub fn and(mut self, hasher: KeyHasher, keys: impl IntoIterator<Item = WriteKey>) -> Self {
        self.tables.push(KeyTable::new(hasher, keys));
        self
    }

    /// The key that is this text, unless its end has come.
    pub(super) fn find(&self, key: &str, now_us: i64) -> Option<&Arc<WriteKey>> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        self.tables.iter().find_map(|table| table.get(key).filter(|key| !key.has_ended(now_us)))
    }

    /// The key that is this text, its end come or not.
    pub(super) fn get(&self, key: &str) -> Option<&WriteKey> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        self.tables.iter().find_map(|table| table.get(key)).map(|key| &**key)
    }

    /// The key with the hash of `other`, which may be of other keys than these.
    pub(super) fn same(&self, other: &WriteKey) -> Option<&Arc<WriteKey>> {
        self.of_hash(&other.hash)
    }

    /// The key with this hash.
    pub(super) fn of_hash(&self, hash: &[u8; 32]) -> Option<&Arc<WriteKey>> {
        self.tables.iter().find_map(|table| table.keys.get(hash))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WriteKey> {
        self.tables.iter().flat_map(|table| table.keys.values()).map(|key| &**key)
    }

    /// Goes on counting where keys that are here too were counted before, and keeps when they were made.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        for key in self.tables.iter_mut().flat_map(|table| table.keys.values_mut()) {
            if let Some(old) = before.same(key).filter(|old| old.identity() == key.identity()) {
                let (created_at_us, uses) = (old.created_at_us.min(key.created_at_us), Arc::clone(&old.uses));
                *key = Arc::new(WriteKey { created_at_us, uses, ..WriteKey::clone(key) });
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hasher: &KeyHasher, (source, name): (&str, &str), text: &str, ends_at_us: Option<i64>) -> WriteKey {
        WriteKey {
            source: source.into(),
            name: name.into(),
            origin: KeyOrigin::File,
            hash: hasher.hash(text),
            created_at_us: 0,
            ends_at_us,
            uses: Arc::default(),
        }
    }

    #[test]
    fn a_hash_is_that_of_the_standard_and_differs_under_another_secret() {
        // RFC 4231, test case 2, has a key of 4 bytes: zeros behind it change nothing.
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let hash = KeyHasher::new(&secret).hash("what do ya want for nothing?");
        assert_eq!(hash[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(hash[28..], [0x64, 0xec, 0x38, 0x43]);
        assert_ne!(KeyHasher::new(&[1; 32]).hash("key"), KeyHasher::new(&[2; 32]).hash("key"));
    }

    #[test]
    fn each_key_opens_its_source_until_its_end() {
        let hasher = KeyHasher::new(&[7; 32]);
        let keys = [
            key(&hasher, ("web", "default"), "first", None),
            key(&hasher, ("web", "old"), "second", Some(1_000)),
            key(&hasher, ("app", "default"), "third", None),
        ];
        let keys = WriteKeys::new(hasher, keys);
        let found = |text: &str, now_us| keys.find(text, now_us).map(|key| (&*key.source, &*key.name));
        assert_eq!(found("first", 0), Some(("web", "default")));
        assert_eq!(found("second", 999), Some(("web", "old")));
        assert_eq!(found("second", 1_000), None, "from its end on it opens nothing");
        assert_eq!(found("third", i64::MAX), Some(("app", "default")));
        assert_eq!(found("fourth", 0), None);
        assert_eq!(found(&"x".repeat(KEY_BYTES_MAX + 1), 0), None);
    }

    #[test]
    fn the_longest_key_is_found_and_a_longer_one_is_not_even_hashed() {
        let hasher = KeyHasher::new(&[7; 32]);
        let texts = [KEY_BYTES_MAX, KEY_BYTES_MAX + 1].map(|length| "k".repeat(length));
        let [longest, longer] = [0, 1].map(|n| key(&hasher, ("web", "k"), &texts[n], None));
        let keys = WriteKeys::new(hasher, [longest, longer]);
        assert!(keys.find(&texts[0], 0).is_some() && keys.find(&texts[1], 0).is_none());
    }

    #[test]
    fn uses_go_on_for_a_key_that_stays_and_begin_anew_for_another_under_its_name() {
        let hasher = KeyHasher::new(&[7; 32]);
        let keys = |default: &str| {
            let all = [
                key(&hasher, ("web", "default"), default, None),
                WriteKey { created_at_us: 9, ..key(&hasher, ("web", "other"), "kept", None) },
            ];
            WriteKeys::new(hasher.clone(), all)
        };
        let before = keys("first");
        before.find("first", 0).unwrap().uses.note_accepted(3);
        let kept = before.find("kept", 0).unwrap();
        assert_eq!((kept.uses.first_us(), kept.uses.last_us()), (None, None));
        kept.uses.note_accepted(4);
        kept.uses.note_shown(70);
        kept.uses.note_shown(60);
        let mut after = keys("second");
        after.tables[0].keys.values_mut().for_each(|key| Arc::make_mut(key).created_at_us += 100);
        after.go_on_from(&before);
        let kept = after.find("kept", 0).unwrap();
        let uses = &kept.uses;
        assert_eq!((uses.events(), uses.first_us(), uses.last_us(), kept.created_at_us), (4, Some(60), Some(70), 9));
        let rotated = after.find("second", 0).unwrap();
        assert_eq!((rotated.uses.events(), rotated.created_at_us), (0, 100));
    }

    #[test]
    fn a_key_is_found_under_either_hasher_and_a_file_counts_before_the_catalog() {
        let (files, catalog) = (KeyHasher::new(&[7; 32]), KeyHasher::of(|key| [u8::try_from(key.len()).unwrap(); 32]));
        let of_catalog = |name: &str, text: &str, ends_at_us| WriteKey {
            origin: KeyOrigin::Catalog,
            ..key(&catalog, ("app", name), text, ends_at_us)
        };
        let both = [
            of_catalog("made", "of the catalog", None),
            of_catalog("both", "in both", None),
            of_catalog("over", "ended over there", Some(5)),
        ];
        let keys = WriteKeys::new(files.clone(), [key(&files, ("web", "both"), "in both", None)]);
        let keys = keys.and(catalog.clone(), both);
        let found = |text: &str| keys.find(text, 10).map(|key| (&*key.source, &*key.name));
        assert_eq!(found("in both"), Some(("web", "both")));
        assert_eq!(found("of the catalog"), Some(("app", "made")));
        assert_eq!((found("ended over there"), found("of nobody")), (None, None));
        assert_eq!(keys.get("ended over there").map(|key| &*key.name), Some("over"));
        assert_eq!(keys.iter().count(), 4);
        let uses = KeyUses::kept(3, 20, 30);
        uses.note_shown(10);
        assert_eq!((uses.events(), uses.first_us(), uses.last_us()), (3, Some(10), Some(30)));
    }
}
