//! Indexes events in Elasticsearch or OpenSearch through `_bulk`.
//!
//! The logic lives in [`bulk`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the module `guest`
//! connects it to Tidegate.

pub mod bulk;
#[cfg(target_arch = "wasm32")]
mod guest;
pub mod plan;
