//! From the text of a schema, or what a compiler made of it, to descriptors.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::nesting::{NESTING_MAX, is_shallow};
use crate::schema_text::{SCHEMA_BYTES_MAX, SCHEMAS_BYTES_MAX};

const ERROR_CHARS_MAX: usize = 300;

/// Files that schemas of a registry import without a reference.
const OF_REGISTRIES: [(&str, &str); 2] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}
"#,
    ),
];

/// A compiled schema.
#[derive(Debug, Clone)]
pub(crate) struct ProtobufSchema {
    /// The file whose messages are numbered; none of a set of files.
    file: Option<FileDescriptor>,
    /// The message that settings name.
    message: Option<MessageDescriptor>,
}

/// The files that a schema imports and that are not here anyway.
///
/// # Errors
/// It is no `.proto`, and this is why.
pub(crate) fn imports(name: &str, text: &str) -> Result<Vec<String>, String> {
    let file = parsed(name, text)?;
    let is_here =
        |name: &str| name.starts_with("google/protobuf/") || OF_REGISTRIES.iter().any(|(own, _)| *own == name);
    let imports = file.file_descriptor_proto().dependency.iter();
    Ok(imports.filter(|name| !is_here(name)).cloned().collect())
}

impl ProtobufSchema {
    /// The schema of the file `main`; `files` has its text, and the texts of what it imports, by the names in the imports.
    ///
    /// # Errors
    /// It cannot be compiled, or has no such message, and this is why.
    pub(crate) fn compile(main: &str, files: BTreeMap<String, String>, message: Option<&str>) -> Result<Self, String> {
        let bytes: usize = files.values().map(String::len).sum();
        if bytes > SCHEMAS_BYTES_MAX {
            return Err(format!(
                "it has {bytes} bytes with its imports, and no more than {SCHEMAS_BYTES_MAX} are read"
            ));
        }
        for (name, text) in &files {
            looked_at(name, text)?;
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(GivenFiles(files));
        resolver.add(GoogleFileResolver::new());
        let of_registries = OF_REGISTRIES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        resolver.add(GivenFiles(BTreeMap::from(of_registries)));
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(main).map_err(|error| shown(&error))?;
        let pool = compiler.descriptor_pool();
        let message = named(&pool, message)?;
        Ok(Self { file: pool.get_file_by_name(main), message })
    }

    /// The schema of a `FileDescriptorSet`, as `protoc --include_imports -o` and `buf build` write it.
    ///
    /// # Errors
    /// It is none, or has no such message, and this is why.
    pub(crate) fn of_descriptor_set(bytes: &[u8], message: &str) -> Result<Self, String> {
        if bytes.len() > SCHEMAS_BYTES_MAX {
            return Err(format!("it has {} bytes, and no more than {SCHEMAS_BYTES_MAX} are read", bytes.len()));
        }
        let pool = DescriptorPool::decode(bytes).map_err(|error| shown(&error))?;
        let message = named(&pool, Some(message))?;
        Ok(Self { file: None, message })
    }

    /// The message that settings name, or else the first of its file.
    pub(super) fn message(&self) -> Option<MessageDescriptor> {
        self.message.clone().or_else(|| self.numbered(&[0]))
    }

    /// The message that these numbers lead to, from the outermost inwards.
    pub(super) fn numbered(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, inner) = indexes.split_first()?;
        let outermost = self.file.as_ref()?.messages().nth(*first)?;
        // Entries of maps are messages as well, which nobody has written and registries do not count.
        inner.iter().try_fold(outermost, |message, index| {
            message.child_messages().filter(|child| !child.is_map_entry()).nth(*index)
        })
    }
}

fn named(pool: &DescriptorPool, name: Option<&str>) -> Result<Option<MessageDescriptor>, String> {
    let Some(name) = name else { return Ok(None) };
    let found = pool.get_message_by_name(name.trim_start_matches('.'));
    found.map(Some).ok_or_else(|| {
        let some: Vec<String> = pool.all_messages().take(5).map(|message| message.full_name().to_owned()).collect();
        format!("it has no message {name:?}; it has {}", some.join(", "))
    })
}

/// Whether a text is one that may be compiled.
fn looked_at(name: &str, text: &str) -> Result<(), String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("{name} has {} bytes, and no more than {SCHEMA_BYTES_MAX} are read", text.len()));
    }
    if !is_shallow(text) {
        return Err(format!("{name} has blocks that are nested more than {NESTING_MAX} levels deep"));
    }
    Ok(())
}

fn parsed(name: &str, text: &str) -> Result<File, String> {
    looked_at(name, text)?;
    File::from_source(name, text).map_err(|error| shown(&error))
}

/// An error of a compiler as one line.
fn shown(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    // So the parser calls a name of an import that it does not take as well.
    if text == "invalid group name" {
        return "a name of an import has backslashes or steps such as . and .., or a group does not begin with a capital letter".to_owned();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(ERROR_CHARS_MAX).collect()
}

/// Files whose texts are at hand.
struct GivenFiles(BTreeMap<String, String>);

impl FileResolver for GivenFiles {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}
