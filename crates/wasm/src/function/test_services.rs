//! What fixtures grant a plugin: their tables, and secrets whose value is their placeholder.

use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use tidegate_plugin::{Digest, Manifest};

use crate::{Lookup, MacKey, Services, Signer};

/// What tests grant: the tables of `fixtures/lookups.json`, and secrets whose value is their placeholder.
#[must_use]
pub fn services(manifest: Option<&Manifest>, lookups: Value) -> Services {
    let secrets = manifest.into_iter().flat_map(Manifest::secrets).map(str::to_owned).collect();
    Services { lookup: Some(Arc::new(TestTables(lookups))), signer: Some(Arc::new(Placeholders(secrets))) }
}

struct TestTables(Value);

impl Lookup for TestTables {
    fn get(&self, table: &str, key: &str) -> Result<Option<String>, String> {
        match self.0.get(table) {
            Some(table) => Ok(table.get(key).map(Value::to_string)),
            None => Err(format!("the table {table:?} is not granted; fixtures/lookups.json has the tables of a test")),
        }
    }
}

struct Placeholders(Vec<String>);

impl Signer for Placeholders {
    fn sign(&self, digest: Digest, key: MacKey<'_>, data: &[u8]) -> Result<Vec<u8>, String> {
        let key = match key {
            MacKey::Named(name) if self.0.iter().any(|known| known == name) => {
                format!("{{{{secret.{name}}}}}").into_bytes()
            }
            MacKey::Named(name) => return Err(format!("{name:?} is no setting with `secret: true`")),
            MacKey::Derived(bytes) => bytes.to_vec(),
        };
        let wrong = |_| "the key has no usable length".to_owned();
        Ok(match digest {
            Digest::Sha1 => {
                let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).map_err(wrong)?;
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
            Digest::Sha256 => {
                let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).map_err(wrong)?;
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
            Digest::Sha512 => {
                let mut mac = Hmac::<sha2::Sha512>::new_from_slice(&key).map_err(wrong)?;
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
        })
    }
}
