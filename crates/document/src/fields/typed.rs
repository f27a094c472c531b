//! Values of fields by their types.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Number, Value};

use super::{DocumentNode, Fields, NAME_CHARS_MAX, SecretText, Tree, shortened};
use crate::problem::QUOTED_CHARS_MAX;
use crate::revealed::{RevealedJson, SECRET_PREFIX};
use crate::units;

/// More of anything is a slip of the pen, and sums of such numbers stay within every type.
const COUNT_MAX: i64 = 1_000_000_000;
/// The same for sizes: 1 PiB.
const BYTES_MAX: u64 = 1 << 50;
/// From one in a quarter of an hour on.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

impl<'a> Fields<'a> {
    /// Notes that a value of a field, or an item of it, is something else than `expected` (`a list of texts`).
    pub(super) fn wrong(&mut self, name: &str, line: usize, node: &DocumentNode, expected: &str) {
        let message = format!("`{}` is {}, and must be {expected}", self.at(name), node.value);
        self.problem_at(name, line, message, to_write(name, expected));
    }

    /// Text. A whole number is the text that it is written as.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let field = self.find(name)?;
        match &field.node.value {
            Tree::Text(text) => self.expand(name, field.line, text),
            Tree::Number(number) if number.is_i64() => Some(number.to_string()),
            Tree::Spelled(number, written) if number.is_i64() => Some(written.clone()),
            _ => {
                self.wrong(name, field.line, &field.node, "text");
                None
            }
        }
    }

    fn expand(&mut self, name: &str, line: usize, text: &str) -> Option<String> {
        if let Some((secret, secrets)) = text.strip_prefix(SECRET_PREFIX).zip(self.secrets) {
            return self.revealed(name, line, secrets(secret), secret);
        }
        let variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let Some((variable, variables)) = variable.zip(self.variables) else { return Some(text.to_owned()) };
        if self.withheld.is_some_and(|is_withheld| is_withheld(variable)) {
            let variable = shortened(variable, NAME_CHARS_MAX);
            let message =
                format!("`{}` asks for a variable of the server's environment that it may not name", self.at(name));
            let fix = format!(
                "keep the value with PUT /api/v1/secrets/NAME, and write `secret:NAME`; or list {variable} below \
                 `catalog_variables` in tidegate.yaml of the server"
            );
            self.problem_at(name, line, message, fix);
            return None;
        }
        let value = variables(variable);
        if value.is_none() {
            let variable = shortened(variable, NAME_CHARS_MAX);
            let message = format!("`{}` asks for the environment variable {variable}, which is not set", self.at(name));
            self.problem_at(name, line, message, format!("set {variable} before you start tidegate"));
        }
        value
    }

    fn revealed(&mut self, name: &str, line: usize, found: SecretText, secret: &str) -> Option<String> {
        match found {
            SecretText::Known(value) => Some(value),
            SecretText::NotAtHand => None,
            SecretText::Absent => {
                let secret = shortened(secret, NAME_CHARS_MAX);
                let message = format!("`{}` asks for the secret {secret:?}, which is not there", self.at(name));
                let fix = format!("keep its value with PUT /api/v1/secrets/{secret}, or name another one");
                self.problem_at(name, line, message, fix);
                None
            }
        }
    }

    /// Text that must be there; `example` is a value that it may have.
    pub fn required(&mut self, name: &'static str, example: &str) -> Option<String> {
        if self.find(name).is_some() {
            return self.text(name);
        }
        if !self.is_broken {
            let (message, fix) = (format!("`{}` is missing", self.at(name)), format!("add `{name}: {example}`"));
            let problem = self.told(name, self.line, message, fix);
            self.missing.push((name, problem));
        }
        None
    }

    /// Text that must be there, and nothing else is asked.
    pub fn only(mut self, name: &'static str, example: &str) -> Option<String> {
        let text = self.required(name, example);
        self.leave_rest();
        self.finish();
        text
    }

    /// Text that parses into `T`; `expected` is what that is, with its article.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let message = format!("`{}` is {:?}, not {expected}", self.at(name), shortened(&text, QUOTED_CHARS_MAX));
            self.problem(name, message, to_write(name, expected));
        }
        parsed
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let message = format!("`{}` is {:?}", self.at(name), shortened(&text, QUOTED_CHARS_MAX));
            self.problem(name, message, format!("write {}", one_of(name, words)));
        }
        found
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let field = self.find(name)?;
        if let Tree::Bool(flag) = field.node.value {
            return Some(flag);
        }
        let message = format!("`{}` is {}, not true or false", self.at(name), field.node.value);
        self.problem(name, message, format!("write `{name}: true` or `{name}: false`"));
        None
    }

    /// A whole number of at least `min`, and at most what any count here may be.
    pub fn number<T: TryFrom<i64>>(&mut self, name: &'static str, min: i64) -> Option<T> {
        self.number_up_to(name, min, COUNT_MAX)
    }

    /// A whole number from `min` to `max`.
    pub fn number_up_to<T: TryFrom<i64>>(&mut self, name: &'static str, min: i64, max: i64) -> Option<T> {
        let field = self.find(name)?;
        let number = field.node.value.number().and_then(Number::as_i64);
        let number = number.filter(|number| (min..=max).contains(number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(name, field.line, &field.node, &format!("a whole number from {min} to {max}"));
        }
        number
    }

    /// A size in bytes: a number of them, or text such as `64 MiB`.
    pub fn bytes<T: TryFrom<u64>>(&mut self, name: &'static str) -> Option<T> {
        self.bytes_up_to(name, BYTES_MAX)
    }

    /// A size of at most `max` bytes.
    pub fn bytes_up_to<T: TryFrom<u64>>(&mut self, name: &'static str, max: u64) -> Option<T> {
        let field = self.find(name)?;
        let bytes = match &field.node.value {
            Tree::Text(text) => units::bytes(text),
            value => value.number().and_then(Number::as_u64),
        };
        let bytes = bytes.filter(|bytes| (1..=max).contains(bytes)).and_then(|bytes| T::try_from(bytes).ok());
        if bytes.is_none() {
            let expected = format!("a size such as 64 MiB, up to {}", units::size(max));
            self.wrong(name, field.line, &field.node, &expected);
        }
        bytes
    }

    /// A time such as `500 ms`, `30 s`, `24 h`, `7 d`.
    pub fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let field = self.find(name)?;
        let duration = match &field.node.value {
            Tree::Text(text) => units::duration(text),
            _ => None,
        };
        if duration.is_none() {
            let expected = "a time such as 500 ms, 30 s, 24 h or 7 d, up to 36525 d";
            self.wrong(name, field.line, &field.node, expected);
        }
        duration
    }

    /// Times a second.
    pub fn rate(&mut self, name: &'static str) -> Option<f64> {
        let field = self.find(name)?;
        let rate = field.node.value.number().and_then(Number::as_f64).filter(|rate| RATES.contains(rate));
        if rate.is_none() {
            let expected = format!("a number from {} to {}", RATES.start(), RATES.end());
            self.wrong(name, field.line, &field.node, &expected);
        }
        rate
    }

    /// An amount a second: `5000/s`, or a size for `bytes` such as `10 MB/s`.
    pub fn per_second(&mut self, name: &'static str, example: &str) -> Option<f64> {
        let field = self.find(name)?;
        let amount = match &field.node.value {
            Tree::Text(text) => text.strip_suffix("/s").and_then(|text| units::bytes(text.trim_end())),
            _ => None,
        };
        // Rates beyond what any machine does lose nothing by being inexact.
        let rate = amount.filter(|amount| *amount > 0).map(|amount| amount as f64);
        if rate.is_none() {
            self.wrong(name, field.line, &field.node, &format!("a rate such as {example}"));
        }
        rate
    }

    /// A list of texts; a single text counts as a list of one.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.texts_and_lines(name).into_iter().map(|(text, _)| text).collect()
    }

    /// The same, each with its line.
    pub fn texts_and_lines(&mut self, name: &'static str) -> Vec<(String, usize)> {
        let Some(field) = self.find(name) else { return Vec::new() };
        match &field.node.value {
            Tree::Text(text) => vec![(text.clone(), field.node.line)],
            Tree::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match &item.value {
                        Tree::Text(text) => texts.push((text.clone(), item.line)),
                        _ => self.wrong(name, item.line, item, "a list of texts"),
                    }
                }
                texts
            }
            _ => {
                self.wrong(name, field.line, &field.node, "a list of texts");
                Vec::new()
            }
        }
    }

    /// The items of a list.
    pub fn list(&mut self, name: &'static str) -> &'a [DocumentNode] {
        let Some(field) = self.find(name) else { return &[] };
        if let Tree::List(items) = &field.node.value {
            return items;
        }
        self.wrong(name, field.line, &field.node, "a list");
        &[]
    }

    /// Pairs of text to text, each with the line of the second.
    pub fn pairs(&mut self, name: &'static str) -> Vec<(String, String, usize)> {
        let Some(field) = self.find(name) else { return Vec::new() };
        let Tree::Map(inner) = &field.node.value else {
            self.wrong(name, field.line, &field.node, "a map of text to text");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for pair in inner {
            match &pair.node.value {
                Tree::Text(text) => pairs.push((pair.name.clone(), text.clone(), pair.node.line)),
                _ => self.wrong(name, pair.line, &pair.node, "a map of text to text"),
            }
        }
        pairs
    }

    /// Any value, as JSON.
    pub fn json(&mut self, name: &'static str) -> Option<Value> {
        self.find(name).map(|field| field.node.to_json())
    }

    /// Any value, as it stands in the document.
    pub fn node(&mut self, name: &'static str) -> Option<&'a DocumentNode> {
        self.find(name).map(|field| &field.node)
    }

    /// Any value, as JSON, with the secrets that texts in it name. Variables are texts like any other.
    pub fn revealed_json(&mut self, name: &'static str) -> Option<RevealedJson> {
        let field = self.find(name)?;
        let mut hidden = Vec::new();
        let given = self.given(name, &field.node, &mut hidden);
        Some(RevealedJson::of(field.node.to_json(), given, hidden))
    }

    /// A value with the secrets that it names, which are added to `hidden`. One that is not there is noted, and stays a name.
    fn given(&mut self, name: &str, node: &DocumentNode, hidden: &mut Vec<String>) -> Value {
        match &node.value {
            Tree::Text(text) => {
                let Some((secret, secrets)) = text.strip_prefix(SECRET_PREFIX).zip(self.secrets) else {
                    return text.as_str().into();
                };
                let value = self.revealed(name, node.line, secrets(secret), secret);
                hidden.extend(value.clone());
                value.unwrap_or_else(|| text.clone()).into()
            }
            Tree::List(items) => Value::Array(items.iter().map(|item| self.given(name, item, hidden)).collect()),
            Tree::Map(inner) => {
                let mut fields = Map::new();
                for field in inner {
                    let value = self.given(&within(name, &field.name), &field.node, hidden);
                    fields.insert(field.name.clone(), value);
                }
                Value::Object(fields)
            }
            _ => node.to_json(),
        }
    }

    /// A map as JSON, with its variables expanded.
    pub fn settings(&mut self, name: &'static str) -> Map<String, Value> {
        let Some(field) = self.find(name) else { return Map::new() };
        let Tree::Map(inner) = &field.node.value else {
            self.wrong(name, field.line, &field.node, "a map");
            return Map::new();
        };
        inner.iter().map(|field| (field.name.clone(), self.expanded(&within(name, &field.name), &field.node))).collect()
    }

    fn expanded(&mut self, name: &str, node: &DocumentNode) -> Value {
        match &node.value {
            // What is not set is noted; the value is then nobody's any more.
            Tree::Text(text) => {
                let otherwise = if text.starts_with(SECRET_PREFIX) { text.as_str() } else { "" };
                self.expand(name, node.line, text).unwrap_or_else(|| otherwise.to_owned()).into()
            }
            Tree::List(items) => items.iter().map(|item| self.expanded(name, item)).collect::<Vec<_>>().into(),
            Tree::Map(inner) => {
                let expanded = inner
                    .iter()
                    .map(|field| (field.name.clone(), self.expanded(&within(name, &field.name), &field.node)));
                Value::Object(expanded.collect())
            }
            _ => node.to_json(),
        }
    }
}

/// The place of a field within a field.
fn within(name: &str, inner: &str) -> String {
    format!("{name}.{}", shortened(inner, NAME_CHARS_MAX))
}

/// `order: none` or `order: user`, and so on.
fn one_of<T>(name: &str, words: &[(&str, T)]) -> String {
    let known: Vec<String> = words.iter().map(|(word, _)| format!("`{name}: {word}`")).collect();
    match known.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// How to mend a field that must be `expected`, which begins with its article if it has one.
fn to_write(name: &str, expected: &str) -> String {
    let noun = expected.strip_prefix("a ").or_else(|| expected.strip_prefix("an ")).unwrap_or(expected);
    format!("write `{name}: <{noun}>`")
}
