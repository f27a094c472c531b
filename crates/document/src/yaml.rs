//! YAML text to a tree that knows its lines.

mod bounds;

use std::collections::{HashMap, HashSet};
use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use super::pointer;

/// A value and the line (from 1) on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode {
    pub line: usize,
    pub value: Tree,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<YamlNode>),
    /// In the file's order; keys are unique.
    Map(Vec<(String, YamlNode)>),
}

/// The text is not YAML that we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Tree {
    /// What kind of value it is, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        })
    }
}

const DEPTH_MAX: usize = 200;

/// Parses one document. An empty text is an empty map.
pub fn parse(text: &str) -> Result<YamlNode, YamlError> {
    bounds::check(text)?;
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let line = error.marker().line();
        YamlError { line, message: error.info().to_owned() }
    })?;
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else { return Ok(YamlNode { line: 1, value: Tree::Map(Vec::new()) }) };
    if let Some(second) = documents.next() {
        let message = "one file holds one document; take the part from `---` on away".to_owned();
        return Err(YamlError { line: second.span.start.line(), message });
    }
    let mut node = node(&first, DEPTH_MAX)?;
    if node.value == Tree::Null {
        node.value = Tree::Map(Vec::new());
    }
    Ok(node)
}

fn node(yaml: &MarkedYaml<'_>, depth_left: usize) -> Result<YamlNode, YamlError> {
    let line = yaml.span.start.line();
    let error = |message: &str| YamlError { line, message: message.to_owned() };
    let deeper = depth_left.checked_sub(1).ok_or_else(|| error("nested too deeply"))?;
    let value = match &yaml.data {
        YamlData::Value(Scalar::Null) => Tree::Null,
        YamlData::Value(Scalar::Boolean(value)) => Tree::Bool(*value),
        YamlData::Value(Scalar::Integer(value)) => Tree::Integer(*value),
        YamlData::Value(Scalar::FloatingPoint(value)) => Tree::Float(value.into_inner()),
        YamlData::Value(Scalar::String(value)) => Tree::Text(value.to_string()),
        YamlData::Sequence(items) => Tree::List(items.iter().map(|item| node(item, deeper)).collect::<Result<_, _>>()?),
        YamlData::Mapping(map) => {
            let mut entries: Vec<(String, YamlNode)> = Vec::with_capacity(map.len());
            let mut names: HashSet<String> = HashSet::with_capacity(map.len());
            for (key, value) in map {
                let name = match node(key, deeper)?.value {
                    Tree::Text(name) => name,
                    Tree::Integer(number) => number.to_string(),
                    Tree::Bool(word) => word.to_string(),
                    Tree::Null => "null".to_owned(),
                    other => return Err(error(&format!("a key is {other}; keys are text"))),
                };
                if !names.insert(name.clone()) {
                    let message = format!("the key {name:?} stands twice");
                    return Err(YamlError { line: key.span.start.line(), message });
                }
                entries.push((name, node(value, deeper)?));
            }
            Tree::Map(entries)
        }
        YamlData::Tagged(_, inner) => return node(inner, deeper),
        _ => return Err(error("this cannot be read; write plain YAML without aliases")),
    };
    Ok(YamlNode { line, value })
}

impl YamlNode {
    /// The line of the first field of each name, at any depth; those of a map come before those within them.
    #[must_use]
    pub fn lines(&self) -> HashMap<&str, usize> {
        let mut lines = HashMap::new();
        self.note_lines(&mut lines);
        lines
    }

    fn note_lines<'a>(&'a self, lines: &mut HashMap<&'a str, usize>) {
        match &self.value {
            Tree::Map(entries) => {
                for (key, node) in entries {
                    lines.entry(key).or_insert(node.line);
                }
                entries.iter().for_each(|(_, node)| node.note_lines(lines));
            }
            Tree::List(items) => items.iter().for_each(|node| node.note_lines(lines)),
            _ => {}
        }
    }

    /// The line of what a JSON pointer leads to.
    #[must_use]
    pub fn line_at(&self, pointer: &str) -> Option<usize> {
        let mut node = self;
        for step in pointer.strip_prefix('/').into_iter().flat_map(pointer::steps) {
            node = match &node.value {
                Tree::Map(entries) => &entries.iter().find(|(key, _)| *key == step)?.1,
                Tree::List(items) => items.get(step.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node.line)
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Integer(value) => Value::Number((*value).into()),
            Tree::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Tree::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.clone(), node.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_and_errors_are_named() {
        let node = parse("a: 1\nb:\n  - x\n  - {c: true}\n").unwrap();
        let Tree::Map(entries) = &node.value else { panic!("no map") };
        assert_eq!((entries[1].0.as_str(), entries[1].1.line), ("b", 3));
        assert_eq!(node.to_json().to_string(), r#"{"a":1,"b":["x",{"c":true}]}"#);
        assert_eq!([node.line_at("/b/1/c"), node.line_at("/a"), node.line_at("/b/2")], [Some(4), Some(1), None]);
        assert_eq!(parse("").unwrap().value, Tree::Map(vec![]));
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap_err().line, 3);
        assert!(parse("a: [1\nb: 2").is_err());
        assert!(parse("a: 1\na: 2").is_err());
    }
}
