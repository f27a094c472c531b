//! Loops while it is being instantiated, before anybody calls an export: a host that sets its deadline only for the
//! call never gets its thread back.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

use exports::tidegate::plugin::{lifecycle, transformer};

struct StartLoop;

/// A component runs the `_initialize` of its module from a core start function.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    loop {
        std::hint::spin_loop();
    }
}

impl lifecycle::Guest for StartLoop {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for StartLoop {
    fn transform(batch: Vec<String>) -> Result<Vec<transformer::Outcome>, transformer::BatchError> {
        Ok(batch.iter().map(|_| transformer::Outcome::Keep).collect())
    }
}

export!(StartLoop);
