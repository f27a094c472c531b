//! Avro: values in the order of a schema, without names or types among them.
//!
//! A **schema** is a list of nodes, so that a type can hold itself; it is read from its JSON text (`parse.rs`), and with it messages are read
//! (`read.rs`) and written (`encode.rs`; `defaults.rs`). Messages are read by the schema that they were written with; there is no other one to change them to.
//! Files of Avro ("object containers") are no messages and are not read.

mod defaults;
mod encode;
mod node;
mod parse;
mod read;

pub use encode::{AvroEncodeError, AvroEncoder};
pub(crate) use parse::AvroSchema;
