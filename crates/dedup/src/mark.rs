//! What is kept of an id: its hash and when it was first received.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

/// One event to look up.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    pub source: &'a str,
    pub message_id: &'a [u8],
    /// Microseconds since the epoch.
    pub received_at_us: i64,
}

/// An id that counts as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMark {
    /// 128 bits of SipHash under the key of the state.
    pub hash: u128,
    /// When it was first received, microseconds since the epoch.
    pub received_at_us: i64,
}

/// The key of the hashes: random for each state, so that nobody outside can make two ids collide.
#[derive(Debug, Clone, Copy)]
pub struct IdKey(pub [u8; 16]);

impl IdKey {
    pub(crate) fn hash(&self, sighting: &Sighting<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(sighting.source.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(sighting.message_id);
        hasher.finish128().as_u128()
    }

    /// Tells files that were made under another key, without giving this one away.
    pub(crate) fn check(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(b"whose dedup index this is");
        hasher.finish128().h1
    }
}

/// Marks by their hash, which is random already.
pub(crate) type ByHash<V> = HashMap<u128, V, BuildHasherDefault<Spread>>;

/// Takes the low half of a hash as it is.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
