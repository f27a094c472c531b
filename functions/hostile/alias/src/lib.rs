//! Hands back 100,000 outcomes that all point at the same megabyte: a host that copies what it is told to copies
//! 100 GB. No safe language can say this, so the canonical ABI is spelled out by hand.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "transform",
    // The types only: `transform` itself is written below, under the name that a component expects.
});

use exports::tidegate::plugin::{lifecycle, transformer};

struct Alias;

impl lifecycle::Guest for Alias {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Alias {
    fn transform(_batch: Vec<String>) -> Result<Vec<transformer::Outcome>, transformer::BatchError> {
        let text: &'static str = Box::leak("a".repeat(1 << 20).into_boxed_str());
        let many = (0..100_000)
            // SAFETY: there is none, and that is the attack; the process is a sandbox that the host throws away.
            .map(|_| unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) })
            .map(transformer::Outcome::Replace)
            .collect();
        Ok(many)
    }
}

export!(Alias);
