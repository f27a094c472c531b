//! Keeps a share of users or of events, the same ones every time.
//!
//! The logic lives in [`sample`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the module `guest`
//! connects it to Tidegate.

#[cfg(target_arch = "wasm32")]
mod guest;
pub mod sample;
