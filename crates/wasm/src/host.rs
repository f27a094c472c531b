//! What the host does when a guest asks: the imports that all worlds share, and those of destinations.

use tidegate_event::digits;
use tidegate_plugin::Digest;

use super::bindings::destination::tidegate::plugin::secrets;
use super::bindings::transform::tidegate::plugin::{host, lookup, types};
use super::call_log::Level;
use super::guest::Guest;
use super::legible::legible;
use super::services::MacKey;

impl types::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        self.call_log.log(&self.limits, level, &message);
        Ok(())
    }

    fn count(&mut self, name: String, delta: u32) -> wasmtime::Result<()> {
        self.call_log.count(&self.limits, &name, delta);
        Ok(())
    }

    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now_ms)
    }

    fn seed(&mut self) -> wasmtime::Result<u64> {
        Ok(self.seed)
    }
}

impl lookup::Host for Guest {
    fn get(&mut self, table: String, key: String) -> wasmtime::Result<Result<Option<String>, String>> {
        Ok(match &self.services.lookup {
            Some(lookup) => {
                let found = lookup.get(&table, &key);
                if let Ok(Some(entry)) = &found
                    && digits::is_lossy_for(entry, self.numbers)
                {
                    self.call_log.give(entry);
                }
                found
            }
            None => Err(format!("no table is granted to this plugin, so not {:?} either", legible(&table, 80))),
        })
    }
}

impl secrets::Host for Guest {
    fn sign(
        &mut self,
        alg: secrets::Mac,
        key: secrets::MacKey,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let Some(signer) = &self.services.signer else { return Ok(Err("this plugin has no secrets".to_owned())) };
        self.has_signed = true;
        let digest = match alg {
            secrets::Mac::HmacSha1 => Digest::Sha1,
            secrets::Mac::HmacSha256 => Digest::Sha256,
            secrets::Mac::HmacSha512 => Digest::Sha512,
        };
        let key = match &key {
            secrets::MacKey::Named(name) => MacKey::Named(name),
            secrets::MacKey::Derived(bytes) => MacKey::Derived(bytes),
        };
        Ok(signer.sign(digest, key, &data))
    }
}
