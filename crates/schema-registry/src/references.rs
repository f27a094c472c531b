//! What a schema refers to, and what that refers to.

use std::collections::BTreeSet;

use tidegate_message::{
    REFERENCE_DEPTH_MAX, REFERENCES_MAX, SCHEMAS_BYTES_MAX, SchemaFetchError, SchemaKind, SchemaReference,
    SchemaRegistry, SchemaText,
};

/// A schema whose references are gone through.
struct OpenSchema {
    /// What it is called by the schema that refers to it; empty of the first.
    name: String,
    schema: SchemaText,
    next: usize,
}

/// A schema by its name in others.
pub(super) type NamedSchema = (String, SchemaText);

/// The schemas that one needs, each behind those that it needs itself, and the schema.
pub(super) async fn gather(
    registry: &dyn SchemaRegistry,
    schema: SchemaText,
) -> Result<(SchemaText, Vec<NamedSchema>), SchemaFetchError> {
    let kind = schema.kind;
    let mut bytes = schema.text.len();
    let (mut seen, mut done) = (BTreeSet::new(), Vec::new());
    let mut open = vec![OpenSchema { name: String::new(), schema, next: 0 }];
    while let Some(top) = open.last_mut() {
        let Some(reference) = top.schema.references.get(top.next).cloned() else {
            let Some(OpenSchema { name, schema, .. }) = open.pop() else { break };
            if open.is_empty() {
                return Ok((schema, done));
            }
            done.push((name, schema));
            continue;
        };
        top.next += 1;
        if !seen.insert(known_by(&reference, kind)) {
            continue;
        }
        if seen.len() > REFERENCES_MAX {
            return Err(unusable(format!("it refers to more than {REFERENCES_MAX} schemas")));
        }
        if open.len() > REFERENCE_DEPTH_MAX {
            return Err(unusable(format!("its references are more than {REFERENCE_DEPTH_MAX} levels deep")));
        }
        let schema = registry.referenced(&reference).await?;
        bytes += schema.text.len();
        if bytes > SCHEMAS_BYTES_MAX {
            return Err(unusable(format!("it has more than {SCHEMAS_BYTES_MAX} bytes with all that it refers to")));
        }
        open.push(OpenSchema { name: reference.name, schema, next: 0 });
    }
    Err(unusable("it refers to itself".to_owned()))
}

/// By what a reference is told from others: a type of Avro may be defined once, a file of Protobuf is imported by its name.
fn known_by(reference: &SchemaReference, kind: SchemaKind) -> SchemaReference {
    let name = if kind == SchemaKind::Avro { String::new() } else { reference.name.clone() };
    SchemaReference { name, ..reference.clone() }
}

fn unusable(reason: String) -> SchemaFetchError {
    SchemaFetchError::Unusable(reason)
}
