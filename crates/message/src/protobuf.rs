//! Protobuf: fields by their numbers, named by a schema that is compiled when it is needed.
//!
//! The schema is text (`.proto`) or what a compiler made of it (a `FileDescriptorSet`), see `compile.rs`; `read.rs` makes a value of a message, and
//! `well_known.rs` knows the messages of Google that have a form of their own in JSON.

mod compile;
mod nesting;
mod read;
mod well_known;

pub(crate) use compile::{ProtobufSchema, imports};
