//! Parses, edits and serialises each event, so that a benchmark sees the price of JSON in a guest.
#![cfg(target_arch = "wasm32")]

mod edit;

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

use exports::tidegate::plugin::{lifecycle, transformer};
use tidegate::plugin::types::ErrorKind;

struct Rewrite;

impl lifecycle::Guest for Rewrite {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Rewrite {
    fn transform(batch: Vec<String>) -> Result<Vec<transformer::Outcome>, transformer::BatchError> {
        Ok(batch.iter().map(|event| one(event)).collect())
    }
}

fn one(event: &str) -> transformer::Outcome {
    match edit::edit(event) {
        Ok(event) => transformer::Outcome::Replace(event),
        Err(error) => transformer::Outcome::Fail(transformer::PluginError {
            kind: ErrorKind::InvalidEvent,
            code: "not-json".to_owned(),
            message: error.to_string(),
        }),
    }
}

export!(Rewrite);
