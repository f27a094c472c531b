//! Renames events and fields, by a table in the settings or one that the workspace grants.
//!
//! What a table says is read in [`rules`], which knows nothing of WebAssembly, so `cargo test` runs it natively; the
//! module `guest` connects it to Tidegate and moves the fields.

#[cfg(target_arch = "wasm32")]
mod guest;
pub mod rules;
