//! Names browser, operating system and device from `context.userAgent`; marks or drops bots.
//!
//! The logic lives in [`agent`] and [`bots`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the
//! module `guest` connects it to Tidegate.

pub mod agent;
pub mod bots;
#[cfg(target_arch = "wasm32")]
mod guest;
