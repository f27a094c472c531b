//! Forwards events to a Segment source through `/v1/batch`.
//!
//! The logic lives in [`segment`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the module `guest`
//! connects it to Tidegate.

#[cfg(target_arch = "wasm32")]
mod guest;
pub mod plan;
pub mod segment;
