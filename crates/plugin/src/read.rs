//! Typed reading of a JSON map; every problem is noted with its place, none stops the reading.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_document::nearest::nearest;
use tidegate_document::units;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestProblem {
    /// Where: field names from the top, joined by dots; empty for the manifest as a whole.
    pub place: String,
    pub problem: String,
    pub fix: String,
}

impl std::fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  fix: {}", self.problem, self.fix)
    }
}

/// A map being read.
pub(super) struct ManifestReader<'a> {
    place: String,
    entries: &'a Map<String, Value>,
    asked: HashSet<&'static str>,
    /// Fields that must be there and are not, each with its problem: said at the end, where none was misspelled.
    missing: Vec<(&'static str, ManifestProblem)>,
    problems: &'a mut Vec<ManifestProblem>,
}

impl<'a> ManifestReader<'a> {
    pub(super) fn new(place: String, entries: &'a Map<String, Value>, problems: &'a mut Vec<ManifestProblem>) -> Self {
        Self { place, entries, asked: HashSet::new(), missing: Vec::new(), problems }
    }

    /// The place of a field.
    pub(super) fn at(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    pub(super) fn problem(&mut self, name: &str, problem: impl Into<String>, fix: impl Into<String>) {
        let place = self.at(name);
        self.problems.push(ManifestProblem { place, problem: problem.into(), fix: fix.into() });
    }

    fn wrong(&mut self, name: &str, expected: &str) {
        let place = self.at(name);
        self.problem(name, format!("`{place}` must be a {expected}"), format!("write `{name}: <{expected}>`"));
    }

    fn find(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.insert(name);
        self.entries.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.find(name)?;
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(name, "text");
        }
        text
    }

    pub(super) fn required(&mut self, name: &'static str, example: &str) -> Option<String> {
        if !self.has(name) {
            self.asked.insert(name);
            let place = self.at(name);
            let (problem, fix) = (format!("`{place}` is missing"), format!("add `{name}: {example}`"));
            self.missing.push((name, ManifestProblem { place, problem, fix }));
            return None;
        }
        self.text(name)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let place = self.at(name);
            self.problem(name, format!("`{place}` is {text:?}"), format!("write one of {}", known.join(", ")));
        }
        found
    }

    pub(super) fn number(&mut self, name: &'static str, min: u64, max: u64) -> Option<u64> {
        let value = self.find(name)?;
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.wrong(name, &format!("whole number from {min} to {max}"));
        }
        number
    }

    /// A number above nothing.
    pub(super) fn rate(&mut self, name: &'static str) -> Option<f64> {
        let value = self.find(name)?;
        let rate = value.as_f64().filter(|rate| rate.is_finite() && *rate > 0.0);
        if rate.is_none() {
            self.wrong(name, "number above 0");
        }
        rate
    }

    /// Bytes, or text such as `64 MiB`.
    pub(super) fn bytes(&mut self, name: &'static str) -> Option<usize> {
        let value = self.find(name)?;
        let bytes = match value {
            Value::String(text) => units::bytes(text),
            value => value.as_u64(),
        };
        let bytes = bytes.filter(|bytes| *bytes > 0).and_then(|bytes| usize::try_from(bytes).ok());
        if bytes.is_none() {
            self.wrong(name, "size such as 64 MiB");
        }
        bytes
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let value = self.find(name)?;
        let duration = value.as_str().and_then(units::duration);
        if duration.is_none() {
            self.wrong(name, "time such as 500 ms, 30 s or 24 h");
        }
        duration
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Vec<String> {
        let Some(value) = self.find(name) else { return Vec::new() };
        let texts = match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.wrong(name, "list of texts");
        }
        texts.unwrap_or_default()
    }

    pub(super) fn json(&mut self, name: &'static str) -> Option<&'a Value> {
        self.find(name)
    }

    pub(super) fn list(&mut self, name: &'static str) -> &'a [Value] {
        match self.find(name) {
            Some(Value::Array(items)) => items,
            None => &[],
            Some(_) => {
                self.wrong(name, "list");
                &[]
            }
        }
    }

    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut ManifestReader<'_>) -> T,
    ) -> Option<T> {
        let value = self.find(name)?;
        let Some(entries) = value.as_object() else {
            self.wrong(name, "map");
            return None;
        };
        let mut inner = ManifestReader::new(self.at(name), entries, self.problems);
        let read = read(&mut inner);
        inner.finish();
        Some(read)
    }

    /// Notes every field that nobody asked for.
    pub(super) fn finish(self) {
        let mut known: Vec<&str> = self.asked.iter().copied().collect();
        known.sort_unstable();
        let unknown = || self.entries.keys().filter(|name| !self.asked.contains(name.as_str()));
        let is_misspelled = |missing: &str| unknown().any(|name| nearest(name, &known) == Some(missing));
        let missing = self.missing.into_iter().filter(|(name, _)| !is_misspelled(name));
        self.problems.extend(missing.map(|(_, problem)| problem));
        for name in self.entries.keys().filter(|name| !self.asked.contains(name.as_str())) {
            let place = if self.place.is_empty() { name.clone() } else { format!("{}.{name}", self.place) };
            let problem = format!("`{place}` is not known here");
            let fix = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("take it away; known here: {}", known.join(", ")),
            };
            self.problems.push(ManifestProblem { place, problem, fix });
        }
    }
}
