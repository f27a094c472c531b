//! Forwards events to RudderStack, Hightouch, or any other collector that speaks the Segment batch format.
//!
//! The logic lives in [`forward`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the module `guest`
//! connects it to Tidegate.

pub mod forward;
#[cfg(target_arch = "wasm32")]
mod guest;
pub mod plan;
