//! Hashes, masks or drops personal data in `properties`, `traits` and `context` of an event.
//!
//! Settings:
//!
//! ```json
//! { "fields": { "email": "hash", "phone": "mask", "card": "drop" }, "salt": "a long random text" }
//! ```
//!
//! `fields` names what to do with each class of data; a class that is not named is left alone. See the README for what
//! belongs to a class and what a mask leaves visible. An event without such data is kept as it is.
//!
//! The logic lives in [`redact`] and [`class`] and knows nothing of WebAssembly, so `cargo test` runs it natively; the
//! module `guest` connects it to Tidegate.

pub mod class;
#[cfg(target_arch = "wasm32")]
mod guest;
pub mod redact;
