//! `format: avro` of a destination: by which schema events are written, and in which registry that is.

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_schema_registry::{AvroPayloads, WrittenSchemaSettings};

use crate::config::around::Around;
use crate::config::streams::schemas;

const SCHEMA: &str = "schema";
const REGISTRY: &str = "schema_registry";
const FILE_EXAMPLE: &str = "schemas/out.avsc";
const SUBJECT_BYTES_MAX: usize = 500;

/// `topic` is where all messages go, if that is one. None where something is wrong, or a secret is not at hand.
pub(super) fn avro(f: &mut Fields<'_>, kind: &str, topic: Option<&str>, around: &Around<'_>) -> Option<AvroPayloads> {
    let has_registry = f.has(REGISTRY);
    let registered = f.within(REGISTRY, |f| registered(f, topic, around)).flatten();
    let schema = f.within(SCHEMA, |f| schema_text(f, around)).flatten();
    if !f.has(SCHEMA) {
        let message = "nothing says by which schema messages of `format: avro` are written";
        f.problem("format", message, format!("add `{SCHEMA}: {{file: {FILE_EXAMPLE}}}`"));
        return None;
    }
    if has_registry && kind != "kafka" {
        let message = format!("messages of `kind: {kind}` name no schema of a registry");
        f.problem(REGISTRY, message, format!("take `{REGISTRY}` away: whoever reads them needs the schema"));
        return None;
    }
    let (written, text) = schema?;
    if has_registry && registered.is_none() {
        return None;
    }
    match AvroPayloads::new(&text, registered) {
        Ok(format) => Some(format),
        Err(reason) => {
            let message = format!("the schema in {} cannot be used: {reason}", shortened(&written, QUOTED_CHARS_MAX));
            f.problem(SCHEMA, message, "name an .avsc of Avro");
            None
        }
    }
}

/// The name of the file, and what is in it.
fn schema_text(f: &mut Fields<'_>, around: &Around<'_>) -> Option<(String, String)> {
    let written = f.required("file", FILE_EXAMPLE)?;
    let bytes = schemas::read(f, around.inputs, &written)?;
    match schemas::text(bytes) {
        Ok(text) => Some((written, text)),
        Err(reason) => {
            let message = format!("the schema in {} cannot be used: {reason}", shortened(&written, QUOTED_CHARS_MAX));
            f.problem("file", message, "name an .avsc of Avro");
            None
        }
    }
}

fn registered(f: &mut Fields<'_>, topic: Option<&str>, around: &Around<'_>) -> Option<WrittenSchemaSettings> {
    let registry = schemas::registry(f, around.inputs, around.outgoing);
    let registers = f.flag("register").unwrap_or(true);
    let subject = f.text("subject");
    if let Some(subject) = subject.as_ref().filter(|subject| subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX) {
        let message = format!("`{}` has {} bytes", f.at("subject"), subject.len());
        f.problem("subject", message, format!("write 1 to {SUBJECT_BYTES_MAX}, or leave it out for <topic>-value"));
        return None;
    }
    let subject = subject.or_else(|| topic.map(|topic| format!("{topic}-value")));
    Some(WrittenSchemaSettings { registry: registry?, subject, registers })
}
