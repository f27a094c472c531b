//! Sleeps for thirty seconds through WASI, as `std::thread::sleep` does in a guest built for wasm32-wasip2. No CPU
//! limit sees such a sleep, so the host must refuse the import when the function is loaded.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({
    inline: r#"
        package tidegate:sleeper;

        world sleeper {
            include tidegate:plugin/transform@0.1.0;
            import wasi:io/poll@0.2.6;
            import wasi:clocks/monotonic-clock@0.2.6;
        }

        package wasi:io@0.2.6 {
            interface poll {
                resource pollable { block: func(); }
            }
        }

        package wasi:clocks@0.2.6 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.6.{pollable};
                subscribe-duration: func(when: u64) -> pollable;
            }
        }
    "#,
    path: "../../../wit",
    world: "tidegate:sleeper/sleeper",
    generate_all,
});

use exports::tidegate::plugin::{lifecycle, transformer};

struct Sleeper;

impl lifecycle::Guest for Sleeper {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Sleeper {
    fn transform(batch: Vec<String>) -> Result<Vec<transformer::Outcome>, transformer::BatchError> {
        wasi::clocks::monotonic_clock::subscribe_duration(30_000_000_000).block();
        Ok(batch.iter().map(|_| transformer::Outcome::Keep).collect())
    }
}

export!(Sleeper);
