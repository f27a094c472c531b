//! YAML text to a tree that knows its lines.

mod bounds;

use std::collections::HashSet;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::Number;

use super::node::{DocumentNode, MapField, Tree};

/// The text is not YAML that we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    pub line: usize,
    pub message: String,
}

const DEPTH_MAX: usize = 200;

/// Parses one document. An empty text is an empty map.
pub fn parse(text: &str) -> Result<DocumentNode, YamlError> {
    bounds::check(text)?;
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let line = error.marker().line();
        YamlError { line, message: error.info().to_owned() }
    })?;
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else { return Ok(DocumentNode { line: 1, value: Tree::Map(Vec::new()) }) };
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

fn node(yaml: &MarkedYaml<'_>, depth_left: usize) -> Result<DocumentNode, YamlError> {
    let line = yaml.span.start.line();
    let error = |message: &str| YamlError { line, message: message.to_owned() };
    let deeper = depth_left.checked_sub(1).ok_or_else(|| error("nested too deeply"))?;
    let value = match &yaml.data {
        YamlData::Value(Scalar::Null) => Tree::Null,
        YamlData::Value(Scalar::Boolean(value)) => Tree::Bool(*value),
        YamlData::Value(Scalar::Integer(value)) => Tree::Number((*value).into()),
        YamlData::Value(Scalar::FloatingPoint(value)) => float(value.into_inner()),
        YamlData::Value(Scalar::String(value)) => Tree::Text(value.to_string()),
        YamlData::Sequence(items) => Tree::List(items.iter().map(|item| node(item, deeper)).collect::<Result<_, _>>()?),
        YamlData::Mapping(map) => {
            let mut fields = Vec::with_capacity(map.len());
            let mut names: HashSet<String> = HashSet::with_capacity(map.len());
            for (key, value) in map {
                let name = match node(key, deeper)?.value {
                    Tree::Text(name) => name,
                    Tree::Number(number) if number.is_i64() => number.to_string(),
                    Tree::Bool(word) => word.to_string(),
                    Tree::Null => "null".to_owned(),
                    other => return Err(error(&format!("a key is {other}; keys are text"))),
                };
                let line = key.span.start.line();
                if !names.insert(name.clone()) {
                    let message = format!("the key {name:?} stands twice");
                    return Err(YamlError { line, message });
                }
                fields.push(MapField { name, line, node: node(value, deeper)? });
            }
            Tree::Map(fields)
        }
        YamlData::Tagged(_, inner) => return node(inner, deeper),
        _ => return Err(error("this cannot be read; write plain YAML without aliases")),
    };
    Ok(DocumentNode { line, value })
}

/// JSON has no endless number: it stays what was written, and whoever wants a number is told that this is text.
fn float(value: f64) -> Tree {
    match Number::from_f64(value) {
        Some(number) => Tree::Number(number),
        None if value.is_nan() => Tree::Text(".nan".to_owned()),
        None if value > 0.0 => Tree::Text(".inf".to_owned()),
        None => Tree::Text("-.inf".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_and_errors_are_named() {
        let node = parse("a: 1\nb:\n  - x\n  - {c: true}\n").unwrap();
        let Tree::Map(fields) = &node.value else { panic!("no map") };
        assert_eq!((fields[1].name.as_str(), fields[1].line, fields[1].node.line), ("b", 2, 3));
        assert_eq!(node.to_json().to_string(), r#"{"a":1,"b":["x",{"c":true}]}"#);
        assert_eq!([node.line_at("/b/1/c"), node.line_at("/a"), node.line_at("/b/2")], [Some(4), Some(1), None]);
        assert_eq!(parse("").unwrap().value, Tree::Map(vec![]));
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap_err().line, 3);
        assert!(parse("a: [1\nb: 2").is_err());
        assert!(parse("a: 1\na: 2").is_err());
        let endless = parse("[.inf, -.inf, .nan, 1.5]").unwrap();
        assert_eq!(endless.to_json().to_string(), r#"[".inf","-.inf",".nan",1.5]"#, "JSON has no such numbers");
    }
}
