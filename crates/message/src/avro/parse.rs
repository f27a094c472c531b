//! From the text of a schema to its nodes. What is no schema is an error; a logical type that does not fit its type is none, as Avro says.

use std::collections::BTreeMap;

use tidegate_event::json;
use tidegate_event::value::{JsonObject, Text, Value};

use super::node::{AvroField, AvroMeaning, AvroNode};
use crate::numbers::SCALE_MAX;
use crate::schema_text::SCHEMA_BYTES_MAX;

const DEPTH_MAX: usize = 128;
/// Types of a schema with those that it refers to.
const NODES_MAX: usize = 20_000;
const NAME_BYTES_MAX: usize = 512;
/// Bytes of a type of fixed size.
const FIXED_BYTES_MAX: u64 = 1 << 20;
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// A schema that messages can be read by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AvroSchema {
    pub(super) nodes: Vec<AvroNode>,
    pub(super) root: usize,
}

impl AvroSchema {
    /// The schema of a text; `referenced` are those that it names types of, each behind those that it needs itself.
    ///
    /// # Errors
    /// One of them is no schema of Avro, and this is why.
    pub(crate) fn parse<'t>(text: &str, referenced: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let mut names = AvroNames::default();
        for text in referenced {
            names.whole(text)?;
        }
        let root = names.whole(text)?;
        Ok(Self { nodes: names.nodes, root })
    }

    /// Whether all of a message is one text of bytes: registries' clients write it without its length.
    pub(crate) fn is_plain_bytes(&self) -> bool {
        matches!(self.nodes.get(self.root), Some(AvroNode::Bytes(AvroMeaning::Plain)))
    }
}

/// The types that were read so far, and what they are called.
#[derive(Default)]
struct AvroNames {
    nodes: Vec<AvroNode>,
    places: BTreeMap<String, usize>,
}

impl AvroNames {
    fn whole(&mut self, text: &str) -> Result<usize, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("it has {} bytes, and no more than {SCHEMA_BYTES_MAX} are read", text.len()));
        }
        let trimmed = text.trim();
        if PRIMITIVES.contains(&trimmed) {
            // Some registries give it without quotes.
            return self.node(&Value::from(trimmed), "");
        }
        let value = json::parse(trimmed.as_bytes(), DEPTH_MAX).map_err(|error| format!("it is {error}"))?;
        self.node(&value, "")
    }

    fn add(&mut self, node: AvroNode) -> Result<usize, String> {
        if self.nodes.len() >= NODES_MAX {
            return Err(format!("it has more than {NODES_MAX} types"));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn node(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        match schema {
            Value::String(name) => self.named(name, "", namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(kind)) => self.typed(kind, object, namespace),
                Some(inner @ (Value::Object(_) | Value::Array(_))) => self.node(inner, namespace),
                _ => Err("a type of it does not say its `type`".to_owned()),
            },
            other => Err(format!("{} is no type", shortened(&other.to_string()))),
        }
    }

    /// A type that has a name alone: one of Avro, or one that was defined before.
    fn named(&mut self, name: &str, logical: &str, namespace: &str) -> Result<usize, String> {
        let node = match name {
            "null" => AvroNode::Null,
            "boolean" => AvroNode::Boolean,
            "int" => AvroNode::Int(AvroMeaning::of_int(logical)),
            "long" => AvroNode::Long(AvroMeaning::of_long(logical)),
            "float" => AvroNode::Float,
            "double" => AvroNode::Double,
            "bytes" => AvroNode::Bytes(AvroMeaning::Plain),
            "string" => AvroNode::Text,
            _ => {
                let place = self.places.get(&full_name(name, namespace)).or_else(|| self.places.get(name));
                return place.copied().ok_or_else(|| format!("the type {:?} is not known", shortened(name)));
            }
        };
        self.add(node)
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<usize, String> {
        let mut places = Vec::new();
        for branch in branches {
            let place = self.node(branch, namespace)?;
            if matches!(self.nodes.get(place), Some(AvroNode::Union(_))) {
                return Err("a union of it holds a union".to_owned());
            }
            places.push(place);
        }
        self.add(AvroNode::Union(places))
    }

    fn typed(&mut self, kind: &str, object: &JsonObject, namespace: &str) -> Result<usize, String> {
        let logical = object.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let mut symbols: Vec<Text> = Vec::new();
                for symbol in object.get("symbols").and_then(Value::as_array).unwrap_or_default() {
                    let symbol = symbol.as_str().ok_or("an enum of it has a symbol that is no text")?;
                    symbols.push(symbol.into());
                }
                self.define(object, namespace, AvroNode::Enum(symbols)).map(|(place, _)| place)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).filter(|size| *size <= FIXED_BYTES_MAX);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a fixed type of it has no size that can be read")?;
                let meaning = match logical {
                    "decimal" => decimal(object),
                    "uuid" if size == 16 => AvroMeaning::Uuid,
                    "duration" if size == 12 => AvroMeaning::Duration,
                    _ => AvroMeaning::Plain,
                };
                self.define(object, namespace, AvroNode::Fixed(size, meaning)).map(|(place, _)| place)
            }
            "array" | "map" => {
                let field = if kind == "array" { "items" } else { "values" };
                let inner = object.get(field).ok_or_else(|| format!("a type of it has no `{field}`"))?;
                let inner = self.node(inner, namespace)?;
                self.add(if kind == "array" { AvroNode::Array(inner) } else { AvroNode::Map(inner) })
            }
            "bytes" => {
                let meaning = match logical {
                    "decimal" => decimal(object),
                    "big-decimal" => AvroMeaning::BigDecimal,
                    _ => AvroMeaning::Plain,
                };
                self.add(AvroNode::Bytes(meaning))
            }
            _ => self.named(kind, logical, namespace),
        }
    }

    /// Gives a type its name; answers its place, and the namespace within.
    fn define(&mut self, object: &JsonObject, namespace: &str, node: AvroNode) -> Result<(usize, String), String> {
        let name = object.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name =
            name.filter(|name| name.len() <= NAME_BYTES_MAX).ok_or("a type of it has no name that can be read")?;
        let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, own);
        let place = self.add(node)?;
        if self.places.insert(full.clone(), place).is_some() {
            return Err(format!("it defines the type {:?} twice", shortened(&full)));
        }
        let within = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        Ok((place, within))
    }

    fn record(&mut self, object: &JsonObject, namespace: &str) -> Result<usize, String> {
        // It has its place before its fields are read, which may be of this very type.
        let (place, within) = self.define(object, namespace, AvroNode::Null)?;
        let mut fields: Vec<AvroField> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for field in object.get("fields").and_then(Value::as_array).ok_or("a record of it has no `fields`")? {
            let name = field.get("name").and_then(Value::as_str).filter(|name| name.len() <= NAME_BYTES_MAX);
            let name = name.ok_or("a field of a record has no name that can be read")?;
            let schema = field.get("type").ok_or_else(|| format!("the field {:?} has no `type`", shortened(name)))?;
            if !names.insert(name) {
                return Err(format!("a record of it has the field {:?} twice", shortened(name)));
            }
            // Logical types of a field belong into its type; many write them beside it, and Avro passes over those.
            let node = self.node(schema, &within)?;
            fields.push(AvroField { name: name.into(), node, default: field.get("default").cloned() });
        }
        if let Some(node) = self.nodes.get_mut(place) {
            *node = AvroNode::Record(fields);
        }
        Ok(place)
    }
}

fn decimal(object: &JsonObject) -> AvroMeaning {
    let number = |name: &str| object.get(name).and_then(Value::as_u64);
    let scale = if object.contains_key("scale") { number("scale") } else { Some(0) };
    let fits = |scale: &u64| *scale <= u64::from(SCALE_MAX) && number("precision").is_some_and(|all| *scale <= all);
    let scale = scale.filter(fits).and_then(|scale| u32::try_from(scale).ok());
    let precision = number("precision").map(|all| u32::try_from(all).unwrap_or(u32::MAX));
    match (scale, precision) {
        (Some(scale), Some(precision)) => AvroMeaning::Decimal { scale, precision },
        _ => AvroMeaning::Plain,
    }
}

/// A name with its namespace, if it does not have it.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
