//! Keeps every event, so that a benchmark sees the price of the boundary alone.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

use exports::tidegate::plugin::{lifecycle, transformer};

struct Noop;

impl lifecycle::Guest for Noop {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Noop {
    fn transform(batch: Vec<String>) -> Result<Vec<transformer::Outcome>, transformer::BatchError> {
        Ok(batch.iter().map(|_| transformer::Outcome::Keep).collect())
    }
}

export!(Noop);
