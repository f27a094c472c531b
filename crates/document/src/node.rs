//! What a document holds, whether it was YAML or JSON: a tree of values that know their lines.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::pointer;

/// A value and the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentNode {
    /// From 1; 0 in a document without lines.
    pub line: usize,
    pub value: Tree,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    /// With the digits that stand in the document.
    Number(Number),
    /// A number that JSON would write otherwise, and how it is written: `007`, `0x1F`, `+5`, `1e3`.
    Spelled(Number, String),
    Text(String),
    List(Vec<DocumentNode>),
    /// In the document's order; names are unique.
    Map(Vec<MapField>),
}

/// A value of a map under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct MapField {
    pub name: String,
    /// The line of the name, like [`DocumentNode::line`].
    pub line: usize,
    pub node: DocumentNode,
}

impl fmt::Display for Tree {
    /// What kind of value it is, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(number) | Self::Spelled(number, _) if number.is_i64() || number.is_u64() => "a whole number",
            Self::Number(_) | Self::Spelled(..) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        })
    }
}

impl Tree {
    /// The number, if it is one.
    #[must_use]
    pub const fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) | Self::Spelled(number, _) => Some(number),
            _ => None,
        }
    }
}

impl DocumentNode {
    /// A JSON value, which has no lines.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let value = match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => Tree::Number(number.clone()),
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(items) => Tree::List(items.iter().map(Self::from_json).collect()),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| MapField {
                    name: name.clone(),
                    line: 0,
                    node: Self::from_json(value),
                };
                Tree::Map(fields.iter().map(field).collect())
            }
        };
        Self { line: 0, value }
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) | Tree::Spelled(number, _) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Tree::Map(fields) => {
                let fields = fields.iter().map(|field| (field.name.clone(), field.node.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// The line of what a JSON pointer leads to: of its name where it has one.
    #[must_use]
    pub fn line_at(&self, pointer: &str) -> Option<usize> {
        let (mut node, mut line) = (self, self.line);
        for step in pointer.strip_prefix('/').into_iter().flat_map(pointer::steps) {
            (node, line) = match &node.value {
                Tree::Map(fields) => {
                    let field = fields.iter().find(|field| field.name == step)?;
                    (&field.node, field.line)
                }
                Tree::List(items) => {
                    let item = items.get(step.parse::<usize>().ok()?)?;
                    (item, item.line)
                }
                _ => return None,
            };
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_with_every_digit() {
        let text = r#"{"a":[1.10,-0,1e+400,12345678901234567890123],"b":null,"c":{"":true},"d":"x"}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        let node = DocumentNode::from_json(&value);
        assert_eq!(node.to_json().to_string(), text);
        assert_eq!(node.line_at("/a/3"), Some(0));
    }
}
