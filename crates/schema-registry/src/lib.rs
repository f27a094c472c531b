//! The schemas that messages of a stream name by numbers, from a schema registry that speaks Confluent's HTTP API: those of messages that are read,
//! and that of messages that are written.
//!
//! Nouns: a **registry** (a server that keeps schemas under ids), a **reference** (another schema that one needs), an **answer** (the schema, or
//! why there is none that can be used).
//!
//! What holds:
//! * A schema is asked for once and kept: what an id names never changes. Ids that are not there are asked for again after half a minute.
//! * A registry that is away costs no message: the stream waits and reads again. An id that it does not have costs the message that names it.
//! * Nothing is written with the id of a schema that the registry did not give for its subject.
//! * Whatever a registry answers is bounded: bytes, references and their depth; so is what is kept.
//!
//! This room knows no carrier, and maps no messages.

mod http;
mod kept;
mod references;
mod registered;
mod settings;
mod written;

pub use registered::{RegisteredSchemas, SchemaAnswers};
pub use settings::{RegistryLogin, SchemaRegistrySettings};
pub use written::{AvroPayloads, WrittenSchemaSettings};

#[cfg(test)]
mod tests;
