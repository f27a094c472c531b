//! YAML text to a tree that knows its lines.

mod bounds;

use std::borrow::Cow;
use std::collections::HashSet;

use saphyr::{MarkedYaml, Scalar, ScanError, YamlData, YamlLoader};
use saphyr_parser::Parser;
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
    let wrong = |error: &ScanError| YamlError { line: error.marker().line(), message: error.info().to_owned() };
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // What a number is written as is wanted as well.
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| wrong(&error))?;
    if let Some(error) = loader.error() {
        return Err(wrong(error));
    }
    let documents = loader.into_documents();
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
        YamlData::Representation(written, style, tag) => {
            match Scalar::parse_from_cow_and_metadata(Cow::Borrowed(written), *style, tag.as_ref()) {
                Some(Scalar::Null) => Tree::Null,
                Some(Scalar::Boolean(value)) => Tree::Bool(value),
                Some(Scalar::Integer(value)) => number(written, Some(value.into())),
                Some(Scalar::FloatingPoint(value)) => number(written, Number::from_f64(value.into_inner())),
                Some(Scalar::String(value)) => Tree::Text(value.into_owned()),
                None => return Err(error("this is not what its tag says; take the tag away")),
            }
        }
        YamlData::Sequence(items) => Tree::List(items.iter().map(|item| node(item, deeper)).collect::<Result<_, _>>()?),
        YamlData::Mapping(map) => {
            let mut fields = Vec::with_capacity(map.len());
            let mut names: HashSet<String> = HashSet::with_capacity(map.len());
            for (key, value) in map {
                let name = match node(key, deeper)?.value {
                    Tree::Text(name) => name,
                    Tree::Number(number) if number.is_i64() => number.to_string(),
                    Tree::Spelled(number, written) if number.is_i64() => written,
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

/// A number as it is written, and its value where JSON has it. An endless number stays text, and whoever wants a number is
/// told so.
fn number(written: &str, value: Option<Number>) -> Tree {
    match serde_json::from_str::<Number>(written) {
        Ok(number) if number.to_string() == written => Tree::Number(number),
        _ => value.map_or_else(|| Tree::Text(written.to_owned()), |value| Tree::Spelled(value, written.to_owned())),
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
    }

    #[test]
    fn a_number_keeps_its_digits_and_how_it_is_written() {
        let text = "[1.10, 12345678901234567890, -0, 007, 0x1F, 1e3, .inf, .NaN, '1', !!str 1]";
        let node = parse(text).unwrap();
        let json = r#"[1.10,12345678901234567890,-0,7,31,1000.0,".inf",".NaN","1","1"]"#;
        assert_eq!(node.to_json().to_string(), json);
        let Tree::List(items) = &node.value else { panic!("no list") };
        assert_eq!(items[3].value, Tree::Spelled(7.into(), "007".to_owned()));
        assert_eq!(parse("00501: Holtsville").unwrap().to_json().to_string(), r#"{"00501":"Holtsville"}"#);
        assert_eq!(parse("a: 1\nb: !!int x").unwrap_err().line, 2);
    }
}
