//! Schemas as a schema registry keeps them, and what whoever speaks to one offers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Bytes of one schema.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// Bytes of a schema with all that it refers to.
pub const SCHEMAS_BYTES_MAX: usize = 4 << 20;
/// Schemas that one refers to, those of its own references among them.
pub const REFERENCES_MAX: usize = 100;
/// References of references.
pub const REFERENCE_DEPTH_MAX: usize = 16;

/// Under which number a registry keeps a schema. What it names never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In which language a schema is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    Avro,
    Protobuf,
    /// JSON Schema: the messages are JSON.
    Json,
}

impl SchemaKind {
    /// The words of registries.
    pub const WORDS: [(&'static str, Self); 3] =
        [("AVRO", Self::Avro), ("PROTOBUF", Self::Protobuf), ("JSON", Self::Json)];
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Json => "JSON Schema",
        })
    }
}

/// Another schema that one needs: an import of Protobuf, a named type of Avro.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaReference {
    /// What the schema calls it: the path of an import, the full name of a type.
    pub name: String,
    pub subject: String,
    pub version: u32,
}

/// A schema as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaText {
    pub kind: SchemaKind,
    pub text: String,
    pub references: Vec<SchemaReference>,
}

/// Why there is no schema. No text of it has a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaFetchError {
    /// The registry is away, busy or broken: worth trying again.
    Away(String),
    /// It lets us in only once an operator acts; `advice` says how.
    Refused { reason: String, advice: String },
    /// It has no such schema, or none that can be used: the message that names it cannot be read.
    Unusable(String),
}

/// A boxed future, so that one caller can hold any registry.
pub type SchemaReply<'a, T> = Pin<Box<dyn Future<Output = Result<T, SchemaFetchError>> + Send + 'a>>;

/// Keeps schemas under numbers. Answers are bounded by [`SCHEMA_BYTES_MAX`].
pub trait SchemaRegistry: Send + Sync + fmt::Debug {
    /// How messages about it begin. Without secrets.
    fn place(&self) -> String;

    /// The schema of an id.
    fn schema(&self, id: SchemaId) -> SchemaReply<'_, SchemaText>;

    /// What a reference leads to.
    fn referenced<'a>(&'a self, reference: &'a SchemaReference) -> SchemaReply<'a, SchemaText>;

    /// Whether it can be read: what was found, one sentence each.
    fn check(&self) -> SchemaReply<'_, Vec<String>>;
}
