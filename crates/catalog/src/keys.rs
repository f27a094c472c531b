//! Keys: the instance key, which is handed in, and what is derived from it and sealed under it.
//!
//! A secret's data key is derived from the instance key, and so is the key that seals the catalog's own key, which is random, made once
//! and kept sealed in the store. The keys of the audit chain, of write keys and of fingerprints are derived from the catalog's key. So another
//! instance key seals a few rows anew, and what was hashed under the catalog's key stays valid.

mod seal;

use ring::{hkdf, hmac};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use seal::SealError;
pub(crate) use seal::{SealPlace, SealedValue};

use crate::entropy::{Entropy, random};

/// A secret in memory. It is wiped when it is dropped and printed by nobody.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl PartialEq for SecretValue {
    /// Takes as long wherever they differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretValue {}

impl SecretValue {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. Who calls it sees that they go nowhere but where they are needed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are one.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(a secret)")
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// 32 bytes that the operator keeps apart from the catalog. Without them its secrets cannot be read.
#[derive(Clone)]
pub struct InstanceKey {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
}

impl InstanceKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let print = derived(&*bytes, &[b"tidegate instance key id"]);
        let id = data_encoding::HEXLOWER.encode(&print[..8]);
        Self { bytes, id }
    }

    /// 16 hexadecimal digits that tell one key from another and nothing of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for something outside of the catalog, derived from this one.
    #[must_use]
    pub fn derived_for(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        derived(&*self.bytes, &[b"tidegate", purpose.as_bytes()])
    }
}

impl std::fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key that seals what is new, and earlier ones whose rows are not sealed anew yet.
#[derive(Debug, Clone)]
pub struct InstanceKeys {
    pub current: InstanceKey,
    pub earlier: Vec<InstanceKey>,
}

impl From<InstanceKey> for InstanceKeys {
    fn from(current: InstanceKey) -> Self {
        Self { current, earlier: Vec::new() }
    }
}

impl InstanceKeys {
    fn with_id(&self, id: &str) -> Option<&InstanceKey> {
        std::iter::once(&self.current).chain(&self.earlier).find(|key| key.id == id)
    }
}

/// The keys that the catalog works with once it is open.
pub(crate) struct CatalogKeys {
    pub(crate) instance: InstanceKeys,
    audit: hmac::Key,
    address: hmac::Key,
    write_keys: hmac::Key,
    fingerprints: hmac::Key,
}

/// Bytes of a keyed hash.
pub(crate) type KeyedHash = [u8; 32];

impl CatalogKeys {
    pub(crate) fn new(instance: InstanceKeys, own: &SecretValue) -> Self {
        let key = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, &*derived(own.expose(), &[purpose]));
        Self {
            instance,
            audit: key(b"audit"),
            address: key(b"address"),
            write_keys: key(b"write keys"),
            fingerprints: key(b"fingerprints"),
        }
    }

    /// A new key of a catalog's own.
    pub(crate) fn fresh(entropy: &dyn Entropy) -> SecretValue {
        SecretValue::new(random::<32>(entropy).to_vec())
    }

    /// The hash of an audit entry: of the one before and of its fields.
    pub(crate) fn audit(&self, parts: &[&[u8]]) -> KeyedHash {
        keyed(&self.audit, parts)
    }

    pub(crate) fn address(&self, address: &str) -> KeyedHash {
        keyed(&self.address, &[address.as_bytes()])
    }

    pub(crate) fn write_keys(&self) -> WriteKeyHasher {
        WriteKeyHasher(self.write_keys.clone())
    }

    /// What tells two values of a secret apart without telling either, as 16 hexadecimal digits.
    pub(crate) fn fingerprint(&self, value: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(&keyed(&self.fingerprints, &[value])[..8])
    }
}

/// Hashes write keys as the catalog keeps them.
#[derive(Clone)]
pub(crate) struct WriteKeyHasher(hmac::Key);

impl WriteKeyHasher {
    pub(crate) fn hash(&self, key: &str) -> KeyedHash {
        keyed(&self.0, &[key.as_bytes()])
    }
}

/// SHA-256, for what is drawn at random and needs no key.
pub(crate) fn sha256(text: &str) -> KeyedHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    hash
}

/// HMAC over parts, each behind its length, so that no two lists of parts are the same bytes.
fn keyed(key: &hmac::Key, parts: &[&[u8]]) -> KeyedHash {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

/// 32 bytes by HKDF-SHA-256 for a purpose, each part of it behind its length.
fn derived(secret: &[u8], purpose: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut info = Vec::new();
    for part in purpose {
        info.extend((part.len() as u64).to_be_bytes());
        info.extend(*part);
    }
    let mut key = Zeroizing::new([0; 32]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate catalog").extract(secret);
    let filled = extracted.expand(&[&info], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *key));
    debug_assert!(filled.is_ok(), "32 bytes are within what HKDF-SHA-256 gives");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_key_nor_a_secret_is_printed() {
        let key = InstanceKey::new([7; 32]);
        assert!(!format!("{key:?}").contains("7, 7"));
        assert_eq!(key.id().len(), 16);
        assert_eq!(format!("{:?}", SecretValue::from("hunter2".to_owned())), "(a secret)");
    }

    #[test]
    fn parts_of_a_hash_do_not_run_into_one_another() {
        let keys = CatalogKeys::new(InstanceKey::new([1; 32]).into(), &SecretValue::new(vec![2; 32]));
        assert_ne!(keys.audit(&[b"ab", b"c"]), keys.audit(&[b"a", b"bc"]));
        assert_ne!(keys.audit(&[b"abc"]), keys.address("abc"));
    }
}
