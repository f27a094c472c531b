//! What the host does for a guest beyond its own store: lookups and signatures. Rooms above provide them.

use std::sync::Arc;

use tidegate_plugin::Digest;

/// Tables granted to a plugin.
pub trait Lookup: Send + Sync {
    /// The entry for `key` in `table` as JSON text.
    ///
    /// # Errors
    /// `table` was not granted; a sentence for the plugin's author.
    fn get(&self, table: &str, key: &str) -> Result<Option<String>, String>;

    /// What tells these tables from others that would answer otherwise; `None` when there are none.
    fn content(&self) -> Option<String> {
        None
    }

    /// Values of secrets in them.
    fn hidden(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Signatures with secrets that the guest never sees.
pub trait Signer: Send + Sync {
    /// The HMAC of `data` under `key`.
    ///
    /// # Errors
    /// There is no such key; a sentence for the plugin's author, without any secret in it.
    fn sign(&self, digest: Digest, key: MacKey<'_>, data: &[u8]) -> Result<Vec<u8>, String>;
}

/// The key of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacKey<'a> {
    /// A setting marked secret.
    Named(&'a str),
    /// Bytes that an earlier signature gave: keys derived from secrets, as in AWS signatures.
    Derived(&'a [u8]),
}

/// The services of one plugin. The default grants nothing.
#[derive(Clone, Default)]
pub struct Services {
    pub lookup: Option<Arc<dyn Lookup>>,
    pub signer: Option<Arc<dyn Signer>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("lookup", &self.lookup.is_some())
            .field("signer", &self.signer.is_some())
            .finish()
    }
}
