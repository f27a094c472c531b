//! Plugin manifests, and components that carry them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_plugin::{Manifest, Package, embed};
use tidegate_wasm::{CallLimits, inspect};

fuzz_target!(|bytes: &[u8]| {
    let _ = Package::read(bytes);
    let _ = inspect(bytes, &CallLimits::default(), None);
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let read = Manifest::from_json(&value);
    // What a component carries reads back as it was.
    let component = embed(b"\0asm\x0d\0\x01\0", &value, &[]);
    assert_eq!(Package::read(&component).ok().map(|package| package.manifest), read.ok());
});
