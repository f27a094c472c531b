//! Defaults of a schema, spelled as the values of events are: in a schema bytes are a text with a character for each of them, up to U+00FF.

use tidegate_event::value::{JsonObject, Value};

use super::node::{AvroField, AvroNode};
use super::parse::AvroSchema;
use super::read::meant_bytes;

impl AvroSchema {
    /// The same with defaults that events could have as values.
    ///
    /// # Errors
    /// A default is none of its type, and this is why.
    pub(super) fn with_event_defaults(self) -> Result<Self, String> {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            nodes.push(match node {
                AvroNode::Record(fields) => {
                    let spelled = fields.iter().map(|field| self.spelled(field));
                    AvroNode::Record(spelled.collect::<Result<_, String>>()?)
                }
                other => other.clone(),
            });
        }
        Ok(Self { nodes, root: self.root })
    }

    fn spelled(&self, field: &AvroField) -> Result<AvroField, String> {
        let AvroField { name, node, default } = field;
        let default = default.as_ref().map(|default| self.of_event(default, *node)).transpose();
        let default = default.map_err(|reason| format!("the default of its field {name:?} is wrong: {reason}"))?;
        Ok(AvroField { name: name.clone(), node: *node, default })
    }

    fn of_event(&self, default: &Value, place: usize) -> Result<Value, String> {
        match (self.nodes.get(place), default) {
            (Some(AvroNode::Bytes(meaning)), Value::String(text)) => meant_bytes(&bytes_of(text)?, *meaning),
            (Some(AvroNode::Fixed(size, meaning)), Value::String(text)) => {
                let bytes = bytes_of(text)?;
                if bytes.len() != *size {
                    return Err(format!("it has {} bytes, and its type {size}", bytes.len()));
                }
                meant_bytes(&bytes, *meaning)
            }
            (Some(AvroNode::Array(inner)), Value::Array(items)) => {
                items.iter().map(|item| self.of_event(item, *inner)).collect()
            }
            (Some(AvroNode::Map(inner)), Value::Object(object)) => {
                let items =
                    object.iter().map(|(key, item)| Ok::<_, String>((key.clone(), self.of_event(item, *inner)?)));
                items.collect::<Result<JsonObject, String>>().map(Value::Object)
            }
            (Some(AvroNode::Record(fields)), Value::Object(object)) => {
                let items = object.iter().map(|(key, item)| {
                    let field = fields.iter().find(|field| field.name == *key);
                    let item = field.map_or_else(|| Ok(item.clone()), |field| self.of_event(item, field.node))?;
                    Ok::<_, String>((key.clone(), item))
                });
                items.collect::<Result<JsonObject, String>>().map(Value::Object)
            }
            (Some(AvroNode::Union(branches)), _) => {
                let branch = branches.iter().find(|branch| self.may_be(default, **branch));
                branch.map_or_else(|| Ok(default.clone()), |branch| self.of_event(default, *branch))
            }
            _ => Ok(default.clone()),
        }
    }

    /// Whether a default of a union may be one of this branch; of those that are spelled alike it is the first's.
    fn may_be(&self, default: &Value, branch: usize) -> bool {
        match (self.nodes.get(branch), default) {
            (Some(AvroNode::Enum(symbols)), Value::String(text)) => symbols.contains(text),
            (Some(AvroNode::Fixed(size, _)), Value::String(text)) => text.chars().count() == *size,
            (Some(AvroNode::Text | AvroNode::Bytes(_)), Value::String(_))
            | (Some(AvroNode::Array(_)), Value::Array(_))
            | (Some(AvroNode::Map(_) | AvroNode::Record(_)), Value::Object(_)) => true,
            _ => false,
        }
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.chars().map(|c| u8::try_from(c).map_err(|_| c));
    bytes.collect::<Result<_, char>>().map_err(|c| {
        format!("bytes are a text with a character for each of them, up to U+00FF, and it has U+{:04X}", u32::from(c))
    })
}
