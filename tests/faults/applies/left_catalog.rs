//! What a server that was killed has left in its catalog, read before another one starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidegate_catalog::{Catalog, Entropy, InstanceKey, SqliteCatalog, exported};

/// What the objects of the workspace say, by kind and name.
#[derive(Debug, PartialEq)]
pub struct LeftCatalog(BTreeMap<(String, String), Value>);

/// The operating system's randomness; nothing is written with it.
struct ReaderEntropy;

impl Entropy for ReaderEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let drawn: [u8; 32] = tidegate_process::clock::random();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

impl LeftCatalog {
    /// Reads the catalog of a data directory that no server uses.
    pub fn read(data: &Path) -> Result<Self, String> {
        let key = std::fs::read(data.join("instance.key")).map_err(|error| error.to_string())?;
        let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| "the instance key has not 32 bytes".to_owned())?;
        let mut store = SqliteCatalog::open(&data.join("catalog.db")).map_err(|error| error.to_string())?;
        let threads = store.take_threads();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let snapshot = runtime.block_on(async {
            let now_us = tidegate_process::clock::now_us();
            let instance = InstanceKey::new(key).into();
            let catalog = Catalog::open(Arc::new(store), instance, Arc::new(ReaderEntropy), now_us).await?;
            catalog.snapshot("default", None).await
        });
        for thread in threads {
            let _ = thread.join();
        }
        let objects = exported(&snapshot.map_err(|error| error.to_string())?);
        let said = objects.into_iter().map(|object| ((object.kind.name().to_owned(), object.name), object.spec));
        Ok(Self(said.collect()))
    }

    pub fn objects(&self) -> usize {
        self.0.len()
    }

    /// What it says otherwise than each of two others.
    pub fn difference(&self, others: &[Self; 2]) -> String {
        let of = |other: &Self| {
            let differs = |(key, spec): &(&(String, String), &Value)| other.0.get(*key) != Some(*spec);
            let names: Vec<String> =
                self.0.iter().filter(differs).map(|((kind, name), _)| format!("{kind} {name}")).collect();
            let missing = other.0.keys().filter(|key| !self.0.contains_key(*key)).count();
            format!("{} of {} differ ({}), {missing} are missing", names.len(), self.0.len(), names.join(", "))
        };
        others.iter().map(of).collect::<Vec<_>>().join("\n")
    }
}
