//! Typed reading of a map, field by field; every problem is noted with its line and how to mend it, none stops the
//! reading.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tidegate_document::nearest::nearest;
use tidegate_document::units;
use tidegate_document::yaml::{Tree, YamlNode};

/// More of anything is a slip of the pen, and sums of such numbers stay within every type.
const COUNT_MAX: i64 = 1_000_000_000;
/// The same for sizes: 1 PiB.
const BYTES_MAX: u64 = 1 << 50;
/// From one in a quarter of an hour on.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;
/// Unknown fields of one map that are named one by one.
const UNKNOWN_MAX: usize = 20;

/// One thing that is wrong with a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    pub file: PathBuf,
    /// From 1; 0 when it is about the file as a whole.
    pub line: usize,
    pub message: String,
    pub fix: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}\n  fix: {}", self.message, self.fix)
    }
}

/// A map being read.
pub(super) struct ConfigFields<'a> {
    file: &'a Path,
    line: usize,
    /// Where we are, for messages: `limits`.
    place: String,
    entries: &'a [(String, YamlNode)],
    asked: HashSet<&'static str>,
    /// It is no map, which has been said: that fields are missing follows from it.
    is_broken: bool,
    /// Fields that must be there and are not, with their problems: said at the end, where none was misspelled.
    missing: Vec<(&'static str, ConfigProblem)>,
    problems: &'a mut Vec<ConfigProblem>,
}

impl<'a> ConfigFields<'a> {
    pub(super) fn new(file: &'a Path, node: &'a YamlNode, problems: &'a mut Vec<ConfigProblem>) -> Self {
        let entries: &[(String, YamlNode)] = match &node.value {
            Tree::Map(entries) => entries,
            other => {
                let message = format!("the file holds {other} where a map is expected");
                problems.push(ConfigProblem {
                    file: file.to_owned(),
                    line: node.line,
                    message,
                    fix: "write `name: value` lines".into(),
                });
                &[]
            }
        };
        let is_broken = !matches!(node.value, Tree::Map(_));
        Self {
            file,
            line: node.line,
            place: String::new(),
            entries,
            asked: HashSet::new(),
            is_broken,
            missing: Vec::new(),
            problems,
        }
    }

    /// The name of the object, which is that of its file.
    pub(super) fn name(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn problem(&mut self, line: usize, message: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(ConfigProblem {
            file: self.file.to_owned(),
            line,
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// The line of a field, or of the map when it is absent.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.entries.iter().find(|(key, _)| key == name).map_or(self.line, |(_, node)| node.line)
    }

    fn find(&mut self, name: &'static str) -> Option<&'a YamlNode> {
        self.asked.insert(name);
        let node = &self.entries.iter().find(|(key, _)| key == name)?.1;
        (node.value != Tree::Null).then_some(node)
    }

    fn wrong(&mut self, name: &str, node: &YamlNode, expected: &str) {
        let message = format!("{}{name} is {}, and must be a {expected}", self.place, node.value);
        self.problem(node.line, message, format!("write `{name}: <{expected}>`"));
    }

    /// Text. `${NAME}` as the whole value is read from the environment.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let node = self.find(name)?;
        match &node.value {
            Tree::Text(text) => self.expand(name, node.line, text),
            Tree::Integer(number) => Some(number.to_string()),
            _ => {
                self.wrong(name, node, "text");
                None
            }
        }
    }

    fn expand(&mut self, name: &str, line: usize, text: &str) -> Option<String> {
        let Some(variable) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Some(text.to_owned());
        };
        match environment(variable) {
            Some(value) => Some(value),
            None => {
                let message =
                    format!("{}{name} asks for the environment variable {variable}, which is not set", self.place);
                self.problem(line, message, format!("set {variable} before you start tidegate"));
                None
            }
        }
    }

    /// Text that must be there.
    pub(super) fn required(&mut self, name: &'static str, example: &str) -> Option<String> {
        if self.find(name).is_none() {
            if self.is_broken {
                return None;
            }
            let (message, fix) = (format!("{}{name} is missing", self.place), format!("add `{name}: {example}`"));
            self.missing.push((name, ConfigProblem { file: self.file.to_owned(), line: self.line, message, fix }));
            return None;
        }
        self.text(name)
    }

    /// Text that must be there, and nothing else is asked.
    pub(super) fn only(mut self, name: &'static str, example: &str) -> Option<String> {
        let text = self.required(name, example);
        self.leave_rest();
        self.finish();
        text
    }

    /// Text that parses into `T`.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, expected: &str) -> Option<T> {
        let line = self.line_of(name);
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let message = format!("{}{name} is {text:?}, not {expected}", self.place);
            self.problem(line, message, format!("write `{name}: <{expected}>`"));
        }
        parsed
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let node = self.find(name)?;
        if let Tree::Bool(flag) = node.value {
            return Some(flag);
        }
        let message = format!("{}{name} is {}, not true or false", self.place, node.value);
        self.problem(node.line, message, format!("write `{name}: true` or `{name}: false`"));
        None
    }

    /// A whole number of at least `min`, and at most what any count here may be.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, name: &'static str, min: i64) -> Option<T> {
        self.number_up_to(name, min, COUNT_MAX)
    }

    /// A whole number from `min` to `max`.
    pub(super) fn number_up_to<T: TryFrom<i64>>(&mut self, name: &'static str, min: i64, max: i64) -> Option<T> {
        let node = self.find(name)?;
        let number = match node.value {
            Tree::Integer(number) if (min..=max).contains(&number) => T::try_from(number).ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong(name, node, &format!("whole number from {min} to {max}"));
        }
        number
    }

    /// A size: a number of bytes, or text such as `64 MiB`.
    pub(super) fn bytes<T: TryFrom<u64>>(&mut self, name: &'static str) -> Option<T> {
        self.bytes_up_to(name, BYTES_MAX)
    }

    /// A size of at most `max` bytes.
    pub(super) fn bytes_up_to<T: TryFrom<u64>>(&mut self, name: &'static str, max: u64) -> Option<T> {
        let node = self.find(name)?;
        let bytes = match &node.value {
            Tree::Integer(number) => u64::try_from(*number).ok(),
            Tree::Text(text) => units::bytes(text),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| (1..=max).contains(bytes)).and_then(|bytes| T::try_from(bytes).ok());
        if bytes.is_none() {
            self.wrong(name, node, &format!("size such as 64 MiB, up to {}", units::size(max)));
        }
        bytes
    }

    /// A time such as `30 s`, `24 h`, `7 d`.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let node = self.find(name)?;
        let duration = match &node.value {
            Tree::Text(text) => units::duration(text),
            _ => None,
        };
        if duration.is_none() {
            self.wrong(name, node, "time such as 30 s, 24 h or 7 d, up to 36525 d");
        }
        duration
    }

    /// A list of texts with their lines; a single text counts as a list of one.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<(String, usize)> {
        let Some(node) = self.find(name) else { return Vec::new() };
        match &node.value {
            Tree::Text(text) => vec![(text.clone(), node.line)],
            Tree::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match &item.value {
                        Tree::Text(text) => texts.push((text.clone(), item.line)),
                        _ => self.wrong(name, item, "list of texts"),
                    }
                }
                texts
            }
            _ => {
                self.wrong(name, node, "list of texts");
                Vec::new()
            }
        }
    }

    /// Pairs of text to text.
    pub(super) fn pairs(&mut self, name: &'static str) -> Vec<(String, String, usize)> {
        let Some(node) = self.find(name) else { return Vec::new() };
        let Tree::Map(entries) = &node.value else {
            self.wrong(name, node, "map of text to text");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (key, value) in entries {
            match &value.value {
                Tree::Text(text) => pairs.push((key.clone(), text.clone(), value.line)),
                _ => self.wrong(name, value, "map of text to text"),
            }
        }
        pairs
    }

    /// Any value, as JSON.
    pub(super) fn json(&mut self, name: &'static str) -> Option<serde_json::Value> {
        self.find(name).map(YamlNode::to_json)
    }

    /// A map as JSON, in which `${NAME}` as a whole text is read from the environment.
    pub(super) fn settings(&mut self, name: &'static str) -> serde_json::Map<String, serde_json::Value> {
        let Some(node) = self.find(name) else { return serde_json::Map::new() };
        if !matches!(node.value, Tree::Map(_)) {
            self.wrong(name, node, "map");
            return serde_json::Map::new();
        }
        match self.expanded(name, node) {
            serde_json::Value::Object(settings) => settings,
            _ => serde_json::Map::new(),
        }
    }

    fn expanded(&mut self, name: &str, node: &YamlNode) -> serde_json::Value {
        match &node.value {
            // What is not set is noted; the value is then nobody's any more.
            Tree::Text(text) => self.expand(name, node.line, text).unwrap_or_default().into(),
            Tree::List(items) => items.iter().map(|item| self.expanded(name, item)).collect::<Vec<_>>().into(),
            Tree::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| (key.clone(), self.expanded(&format!("{name}.{key}"), value)));
                serde_json::Value::Object(entries.collect())
            }
            _ => node.to_json(),
        }
    }

    /// Times a second.
    pub(super) fn rate(&mut self, name: &'static str) -> Option<f64> {
        let node = self.find(name)?;
        let rate = match node.value {
            Tree::Float(rate) => Some(rate),
            // Whole numbers of requests are small.
            Tree::Integer(number) => i32::try_from(number).ok().map(f64::from),
            _ => None,
        };
        let rate = rate.filter(|rate| RATES.contains(rate));
        if rate.is_none() {
            self.wrong(name, node, &format!("number from {} to {}", RATES.start(), RATES.end()));
        }
        rate
    }

    /// An amount a second: `5000/s`, or a size for `bytes` such as `10 MB/s`.
    pub(super) fn per_second(&mut self, name: &'static str, example: &str) -> Option<f64> {
        let node = self.find(name)?;
        let amount = match &node.value {
            Tree::Text(text) => text.strip_suffix("/s").and_then(|text| units::bytes(text.trim_end())),
            _ => None,
        };
        // Rates beyond what any machine does lose nothing by being inexact.
        let rate = amount.filter(|amount| *amount > 0).map(|amount| amount as f64);
        if rate.is_none() {
            self.wrong(name, node, &format!("rate such as {example}"));
        }
        rate
    }

    /// A map within, read by `read`.
    pub(super) fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut ConfigFields<'_>) -> T) -> Option<T> {
        let node = self.find(name)?;
        let Tree::Map(entries) = &node.value else {
            self.wrong(name, node, "map");
            return None;
        };
        let place = format!("{}{name}.", self.place);
        let mut inner = ConfigFields {
            file: self.file,
            line: node.line,
            place,
            entries,
            asked: HashSet::new(),
            is_broken: false,
            missing: Vec::new(),
            problems: &mut *self.problems,
        };
        let read = read(&mut inner);
        inner.finish();
        Some(read)
    }

    /// Leaves the rest unread, so that nothing of it is noted as unknown: what may stand there depends on something that is
    /// wrong.
    pub(super) fn leave_rest(&mut self) {
        self.entries = &[];
    }

    /// Whether a field is there, whatever it says.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, node)| key == name && node.value != Tree::Null)
    }

    /// Whether every field that is there was asked for: nothing is missing because its name is misspelled.
    pub(super) fn all_are_known(&self) -> bool {
        self.entries.iter().all(|(key, _)| self.asked.contains(key.as_str()))
    }

    /// Notes every field that nobody asked for.
    pub(super) fn finish(mut self) {
        let mut known: Vec<&str> = self.asked.iter().copied().collect();
        known.sort_unstable();
        let entries = self.entries;
        let unknown: Vec<&(String, YamlNode)> =
            entries.iter().filter(|(key, _)| !self.asked.contains(key.as_str())).collect();
        for (name, problem) in std::mem::take(&mut self.missing) {
            if !unknown.iter().any(|(key, _)| nearest(key, &known) == Some(name)) {
                self.problems.push(problem);
            }
        }
        for (key, node) in unknown.iter().take(UNKNOWN_MAX) {
            let key = shortened(key);
            let fix = match nearest(&key, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("take it away; known here: {}", known.join(", ")),
            };
            let message = format!("{}{key} is not known here", self.place);
            self.problem(node.line, message, fix);
        }
        if let Some((_, node)) = unknown.get(UNKNOWN_MAX) {
            let more = unknown.len() - UNKNOWN_MAX;
            let message = format!("{more} more fields from here on are not known in {}", self.file.display());
            self.problem(node.line, message, format!("take them away; known here: {}", known.join(", ")));
        }
    }
}

/// A variable of the environment, if it is set to something that is text.
#[expect(clippy::disallowed_methods, reason = "the configuration is the one reader of the environment")]
pub(crate) fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// A name as it stands in a message: what is too long to be one is cut.
fn shortened(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    if name.chars().nth(CHARS_MAX).is_none() {
        return name.to_owned();
    }
    name.chars().take(CHARS_MAX).chain(['…']).collect()
}
