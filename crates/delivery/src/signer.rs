//! Signatures for guests, with keys that they never see.

use tidegate_net::outbound::{Secrets, SigningDigest, mac};
use tidegate_plugin as plugin;
use tidegate_wasm::{MacKey, Signer};

/// The digest of a manifest or a guest as that which signs.
pub(super) const fn digest(asked: plugin::Digest) -> SigningDigest {
    match asked {
        plugin::Digest::Sha1 => SigningDigest::Sha1,
        plugin::Digest::Sha256 => SigningDigest::Sha256,
        plugin::Digest::Sha512 => SigningDigest::Sha512,
    }
}

/// The secrets of one destination as keys.
pub(super) struct SigningKeys(pub(super) Secrets);

impl Signer for SigningKeys {
    fn sign(&self, alg: plugin::Digest, key: MacKey<'_>, data: &[u8]) -> Result<Vec<u8>, String> {
        let key = match key {
            MacKey::Derived(bytes) => bytes,
            MacKey::Named(name) => self.0.get(name).map(str::as_bytes).ok_or_else(|| {
                let name: String = name.chars().take(80).collect();
                format!("there is no secret {name:?}; name a setting that is marked `secret: true`")
            })?,
        };
        Ok(mac(digest(alg), key, data))
    }
}
