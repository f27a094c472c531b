//! From a message that somebody else's program sent to events.
//!
//! Nouns: a **message** (bytes, headers and what its carrier says of it: a webhook, later a record of a stream), a **part** (what of it
//! becomes one event), a **place** (where in it a value stands), a **mapping** (which place gives which field of the event), a **schema** (what
//! gives names to the bytes of Avro and Protobuf), a **schema registry** (keeps schemas under ids that messages begin with).
//! A mapping is a function of the message alone, so a message that is delivered again makes the same events with the same ids; numbers
//! keep every digit; a part that cannot be mapped costs no neighbour and comes back with its bytes and the reason.
//! This room knows no carrier, opens no connection, checks no signature and makes up no ids.

mod avro;
mod budget;
mod form;
mod frame;
mod json_parts;
mod json_value;
mod limits;
mod mapping;
mod numbers;
mod parts;
mod place;
mod protobuf;
mod schema;
mod schema_text;
mod times;
mod upstream;

pub use avro::{AvroEncodeError, AvroEncoder};
pub use limits::{MessageLimits, TooManyParts};
pub use mapping::{EventMapping, MappedEvent, MappedField, MessageMapping};
pub use place::{MessagePlace, WrongPlace};
pub use schema::{MessageSchema, SchemaAnswer, SchemaPlace};
pub use schema_text::{
    REFERENCE_DEPTH_MAX, REFERENCES_MAX, SCHEMA_BYTES_MAX, SCHEMAS_BYTES_MAX, SchemaFetchError, SchemaId, SchemaKind,
    SchemaReference, SchemaRegistry, SchemaReply, SchemaText,
};
pub use upstream::{MessageFormat, UpstreamMessage, context};

#[cfg(test)]
mod tests;
