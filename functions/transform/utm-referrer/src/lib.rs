//! Reads UTM parameters into `context.campaign` and says where a visitor came from in `context.referrer`.
//!
//! Settings, all optional: `{ "internal_hosts": ["example.com"] }`. A host stands for its subdomains too; the host of
//! the page itself is always internal.
//!
//! The logic lives in [`attribute`] and [`referrer`] and knows nothing of WebAssembly, so `cargo test` runs it natively;
//! the module `guest` connects it to Tidegate.

pub mod attribute;
#[cfg(target_arch = "wasm32")]
mod guest;
pub mod referrer;
