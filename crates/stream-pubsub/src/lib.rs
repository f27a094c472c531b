//! Google Pub/Sub: a carrier of streams.
//!
//! Nouns: a **connection** (where Pub/Sub is, and as whom it is asked), a **lease** (how long a message that was pulled is ours; upstream
//! calls it the ack deadline), an **ack id** (by what a delivery of a message is acknowledged; another delivery has another one), a **held
//! message** (pulled and not acknowledged).
//!
//! Guarantees:
//! * A message is acknowledged only after its receipt came. With exactly-once delivery it counts as acknowledged only when Pub/Sub says so.
//! * The lease of what is held is extended in the background, however long the log takes.
//! * Messages of one ordering key are given in their order, and none past one that was taken away before it was given.
//! * Memory is bounded: what was pulled and not given yet has a bound, and so has an answer.
//!
//! This room knows no mapping, no log and no configuration text.

mod connection;
mod credentials;
mod error;
mod grpc;
mod held;
mod intake;
mod names;
mod origin;
mod permissions;
mod proto;
mod reader;
mod subscription;
mod target;
mod token;
mod writer;

pub use connection::{PubsubConnection, PubsubEndpoint};
pub use credentials::CredentialsPlace;
pub use names::is_pubsub_name;
pub use origin::PubsubOrigin;
pub use target::PubsubTarget;

#[cfg(test)]
mod tests;
