//! By what a message is read that does not say itself what its bytes are: a compiled schema, and where a source has its schemas.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tidegate_event::value::Value;

use crate::avro::AvroSchema;
use crate::json_value::json_value;
use crate::limits::MessageLimits;
use crate::protobuf::{self, ProtobufSchema};
use crate::schema_text::{SchemaId, SchemaKind, SchemaText};

/// What the file of a schema of a registry is called among its imports, where nothing else says it.
const MAIN_FILE: &str = "tidegate-registered-schema.proto";

/// A schema that messages can be read by. Two are the same when their texts are.
pub struct MessageSchema {
    compiled: CompiledSchema,
    /// What it was made of.
    source: Vec<u8>,
}

enum CompiledSchema {
    Avro(AvroSchema),
    Protobuf(ProtobufSchema),
    Json,
}

/// Where the schemas of a source's messages are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SchemaPlace {
    /// Its messages have none.
    #[default]
    Nowhere,
    /// In a registry; each message names its own.
    Registry,
    /// All messages have this one.
    Given(Arc<MessageSchema>),
}

/// What became of looking for the schema that a message names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaAnswer {
    Found(Arc<MessageSchema>),
    /// There is none, or none that can be used, and this is why.
    Unusable(Arc<str>),
}

impl MessageSchema {
    /// The schema of the text of an `.avsc` file.
    ///
    /// # Errors
    /// It is none, and this is why.
    pub fn of_avro(text: &str) -> Result<Self, String> {
        let compiled = CompiledSchema::Avro(AvroSchema::parse(text, [])?);
        Ok(Self { compiled, source: text.as_bytes().to_vec() })
    }

    /// The schema of the file `main` of `files`, which has the texts of its imports too, by the names that it imports them by. `message` is the full
    /// name of the messages' type.
    ///
    /// # Errors
    /// It cannot be compiled, or has no such message, and this is why.
    pub fn of_protobuf(main: &str, files: BTreeMap<String, String>, message: &str) -> Result<Self, String> {
        let source = files.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]).chain([main, message]);
        let source = source.collect::<Vec<_>>().join("\0").into_bytes();
        let compiled = CompiledSchema::Protobuf(ProtobufSchema::compile(main, files, Some(message))?);
        Ok(Self { compiled, source })
    }

    /// The files that a `.proto` imports, but for those of Google that are always here.
    ///
    /// # Errors
    /// It cannot be read, and this is why.
    pub fn imports_of_protobuf(name: &str, text: &str) -> Result<Vec<String>, String> {
        protobuf::imports(name, text)
    }

    /// The schema of a `FileDescriptorSet`.
    ///
    /// # Errors
    /// It is none, or has no such message, and this is why.
    pub fn of_descriptor_set(bytes: &[u8], message: &str) -> Result<Self, String> {
        let compiled = CompiledSchema::Protobuf(ProtobufSchema::of_descriptor_set(bytes, message)?);
        Ok(Self { compiled, source: [bytes, message.as_bytes()].join(&0) })
    }

    /// The schema of a registry; `referenced` are the schemas that it refers to, by the names that it has for them, each behind those that it needs
    /// itself.
    ///
    /// # Errors
    /// It cannot be used, and this is why.
    pub fn of_registry(schema: &SchemaText, referenced: &[(String, SchemaText)]) -> Result<Self, String> {
        if let Some((name, other)) = referenced.iter().find(|(_, other)| other.kind != schema.kind) {
            return Err(format!("it is {}, and refers to {name}, which is {}", schema.kind, other.kind));
        }
        let compiled = match schema.kind {
            SchemaKind::Avro => {
                let referenced = referenced.iter().map(|(_, schema)| schema.text.as_str());
                CompiledSchema::Avro(AvroSchema::parse(&schema.text, referenced)?)
            }
            SchemaKind::Protobuf => {
                let mut files: BTreeMap<String, String> =
                    referenced.iter().map(|(name, schema)| (name.clone(), schema.text.clone())).collect();
                files.insert(MAIN_FILE.to_owned(), schema.text.clone());
                CompiledSchema::Protobuf(ProtobufSchema::compile(MAIN_FILE, files, None)?)
            }
            SchemaKind::Json => CompiledSchema::Json,
        };
        let texts = referenced.iter().map(|(_, schema)| schema.text.as_str()).chain([schema.text.as_str()]);
        Ok(Self { compiled, source: texts.collect::<Vec<_>>().join("\0").into_bytes() })
    }

    /// In which language it is written.
    #[must_use]
    pub const fn kind(&self) -> SchemaKind {
        match self.compiled {
            CompiledSchema::Avro(_) => SchemaKind::Avro,
            CompiledSchema::Protobuf(_) => SchemaKind::Protobuf,
            CompiledSchema::Json => SchemaKind::Json,
        }
    }

    /// Bytes of the texts that it was made of.
    #[must_use]
    pub fn source_bytes(&self) -> usize {
        self.source.len()
    }

    /// The value of a message. `is_framed` says that it stood behind the id of the schema, and is written as those are.
    ///
    /// # Errors
    /// The bytes do not fit the schema, or hold more than is read.
    pub(crate) fn read(&self, bytes: &[u8], is_framed: bool, limits: &MessageLimits) -> Result<Value, String> {
        match &self.compiled {
            CompiledSchema::Avro(schema) if is_framed && schema.is_plain_bytes() => Ok(schema.plain(bytes)),
            CompiledSchema::Avro(schema) => schema.read(bytes, limits),
            CompiledSchema::Protobuf(schema) => schema.read(bytes, is_framed, limits),
            CompiledSchema::Json => json_value(bytes, limits),
        }
    }
}

impl SchemaAnswer {
    /// The schema, for the message that names it.
    ///
    /// # Errors
    /// There is none, and this is why.
    pub(crate) fn of_message(answer: Option<&Self>, id: SchemaId) -> Result<Arc<MessageSchema>, String> {
        match answer {
            Some(Self::Found(schema)) => Ok(Arc::clone(schema)),
            Some(Self::Unusable(reason)) => Err(format!("its schema {id} cannot be used: {reason}")),
            None => Err(format!("its schema {id} was not looked for")),
        }
    }
}

impl PartialEq for MessageSchema {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.source == other.source
    }
}

impl Eq for MessageSchema {}

impl fmt::Debug for MessageSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSchema").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
