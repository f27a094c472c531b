//! Signatures for guests, with keys that they never see.

use tidegate_net::outbound::{Digest, Secrets, mac};
use tidegate_wasm::{Mac, MacKey, Signer};

/// The secrets of one destination as keys.
pub(super) struct Keys(pub(super) Secrets);

impl Signer for Keys {
    fn sign(&self, alg: Mac, key: MacKey<'_>, data: &[u8]) -> Result<Vec<u8>, String> {
        let digest = match alg {
            Mac::HmacSha1 => Digest::Sha1,
            Mac::HmacSha256 => Digest::Sha256,
            Mac::HmacSha512 => Digest::Sha512,
        };
        let key = match key {
            MacKey::Derived(bytes) => bytes,
            MacKey::Named(name) => self.0.get(name).map(str::as_bytes).ok_or_else(|| {
                let name: String = name.chars().take(80).collect();
                format!("there is no secret {name:?}; name a setting that is marked `secret: true`")
            })?,
        };
        Ok(mac(digest, key, data))
    }
}
