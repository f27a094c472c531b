//! Sends events to a URL of yours. The path, headers and body are templates; the host signs the body.
//!
//! The logic lives in [`webhook`] and [`template`] and knows nothing of WebAssembly, so `cargo test` runs it natively;
//! the module `guest` connects it to Tidegate.

#[cfg(target_arch = "wasm32")]
mod guest;
pub mod plan;
pub mod template;
pub mod webhook;
