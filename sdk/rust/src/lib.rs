//! What a plugin in Rust uses of Tidegate. Everything here works natively, so that `cargo test` runs a plugin's logic
//! without WebAssembly.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event`] | who, when, what: readers that answer `None` for anything odd |
//! | [`commerce`] | amounts of money and line items |
//! | [`people`] | phone numbers and hashed personal data |
//! | [`collector`] | forwarding in the Segment batch format |
//! | [`delivery`] | plans within a tool's limits, verdicts |
//! | [`destination`](mod@destination) | the trait of a destination, and the macro that connects it to the host |
//! | [`heap`] | an allocator for what a plugin does |

pub mod collector;
pub mod commerce;
pub mod delivery;
pub mod destination;
pub mod event;
pub mod heap;
pub mod people;

pub use delivery::{Failure, Method, Plan, Refusal, Request, Response, Verdict};
pub use destination::{Context, Destination, Forget};
pub use event::Event;
pub use heap::Heap;
pub use serde_json;
pub use wit_bindgen;
