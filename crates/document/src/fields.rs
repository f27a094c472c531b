//! A map of a document, YAML or JSON, read field by field: every problem is noted with its place, its line and how to mend
//! it, none stops the reading.
//!
//! Documents come from outside too (a plugin carries its manifest), so whatever stands in one, what is said of it is
//! bounded: the first [`UNKNOWN_MAX`] unknown fields of a map and the first [`PROBLEMS_MAX`] other problems of it are named, and
//! how many more there are. Numbers and sizes have a most. The environment is read for those alone who hand in how.

mod typed;

use std::collections::HashSet;
use std::path::Path;

use super::nearest::nearest;
use super::node::{DocumentNode, MapField, Tree};
use super::problem::{NAME_CHARS_MAX, Problem, shortened};

/// Unknown fields of one map that are named one by one.
pub const UNKNOWN_MAX: usize = 20;
/// Other problems of one map that are named one by one; nobody reads more at once.
pub const PROBLEMS_MAX: usize = 200;
/// Unknown fields of one map that may be known ones, misspelled.
const MISSPELLED_MAX: usize = 1_000;

/// How `${NAME}` as a whole text is read; `None` when it is not set.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Whether a variable may not be named.
pub type WithheldVariables<'v> = &'v dyn Fn(&str) -> bool;

/// What `secret:NAME` as a whole text stands for.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretText {
    Known(String),
    /// There is no secret of that name.
    Absent,
    /// Nobody can tell here: the field is read as if it were right, and has no value.
    NotAtHand,
}

/// How `secret:NAME` as a whole text is read, by the name.
pub type SecretTexts<'v> = &'v dyn Fn(&str) -> SecretText;

/// A map being read.
pub struct Fields<'a> {
    file: &'a Path,
    variables: Option<Variables<'a>>,
    withheld: Option<WithheldVariables<'a>>,
    secrets: Option<SecretTexts<'a>>,
    line: usize,
    /// Where we are: `limits`; empty at the top.
    place: String,
    fields: &'a [MapField],
    asked: HashSet<&'static str>,
    /// It is no map, which has been said: that fields are missing follows from it.
    is_broken: bool,
    /// Fields that must be there and are not, with their problems: said at the end, where none was misspelled.
    missing: Vec<(&'static str, Problem)>,
    /// Problems of this map that were met.
    met: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole document; `file` is empty when it was none. Problems are added to `problems`.
    pub fn new(file: &'a Path, node: &'a DocumentNode, problems: &'a mut Vec<Problem>) -> Self {
        let (fields, is_broken): (&[MapField], bool) = match &node.value {
            Tree::Map(fields) => (fields, false),
            _ => (&[], true),
        };
        let mut read = Self {
            file,
            variables: None,
            withheld: None,
            secrets: None,
            line: node.line,
            place: String::new(),
            fields,
            asked: HashSet::new(),
            is_broken,
            missing: Vec::new(),
            met: 0,
            problems,
        };
        if is_broken {
            let message = format!("the document holds {} where a map is expected", node.value);
            read.problem("", message, "write `name: value` lines");
        }
        read
    }

    /// Has variables refused that the document may not name, whether they are set or not.
    #[must_use]
    pub fn with_withheld(mut self, withheld: WithheldVariables<'a>) -> Self {
        self.withheld = Some(withheld);
        self
    }

    /// Has texts that are `${NAME}` as a whole read by `variables`; otherwise they are texts like any other.
    #[must_use]
    pub fn with_variables(mut self, variables: Variables<'a>) -> Self {
        self.variables = Some(variables);
        self
    }

    /// Has texts that are `secret:NAME` as a whole read by `secrets`; otherwise they are texts like any other.
    #[must_use]
    pub fn with_secrets(mut self, secrets: SecretTexts<'a>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The name of the object that a file describes, which is that of the file.
    #[must_use]
    pub fn name(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Notes what is wrong with a field; with the map when `name` is empty.
    pub fn problem(&mut self, name: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.problem_at(name, self.line_of(name), message, fix);
    }

    /// The same, where the line is known better: that of an item of a list, or 0.
    pub fn problem_at(&mut self, name: &str, line: usize, message: impl Into<String>, fix: impl Into<String>) {
        self.met += 1;
        if self.met <= PROBLEMS_MAX {
            let problem = self.told(name, line, message.into(), fix.into());
            self.problems.push(problem);
        }
    }

    fn told(&self, name: &str, line: usize, message: String, fix: String) -> Problem {
        Problem { file: self.file.to_owned(), line, place: self.at(name), message, fix }
    }

    /// The place of a field: `limits.events_max`; that of the map when `name` is empty.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        match (self.place.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.place.clone(),
            (false, false) => format!("{}.{name}", self.place),
        }
    }

    /// The line of a field's name, or of the map when it is absent.
    #[must_use]
    pub fn line_of(&self, name: &str) -> usize {
        self.field(name).map_or(self.line, |field| field.line)
    }

    /// Whether a field is there, whatever it says.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.node.value != Tree::Null)
    }

    fn field(&self, name: &str) -> Option<&'a MapField> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn find(&mut self, name: &'static str) -> Option<&'a MapField> {
        self.asked.insert(name);
        self.field(name).filter(|field| field.node.value != Tree::Null)
    }

    /// Leaves the rest unread, so that nothing of it is noted as unknown: what may stand there depends on something that is
    /// wrong.
    pub fn leave_rest(&mut self) {
        self.fields = &[];
    }

    /// Whether every field that is there was asked for: nothing is missing because its name is misspelled.
    #[must_use]
    pub fn all_are_known(&self) -> bool {
        self.fields.iter().all(|field| self.asked.contains(field.name.as_str()))
    }

    /// A map within, read by `read`.
    pub fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
        let field = self.find(name)?;
        let Tree::Map(fields) = &field.node.value else {
            self.wrong(name, field.line, &field.node, "a map");
            return None;
        };
        let mut inner = Fields {
            file: self.file,
            variables: self.variables,
            withheld: self.withheld,
            secrets: self.secrets,
            line: field.line,
            place: self.at(name),
            fields,
            asked: HashSet::new(),
            is_broken: false,
            missing: Vec::new(),
            met: 0,
            problems: &mut *self.problems,
        };
        let read = read(&mut inner);
        inner.finish();
        Some(read)
    }

    /// Maps under names that the author of the document chooses: `read` gets each name and its map. Text alone stands for a
    /// map that has nothing but `short`.
    pub fn each<T>(
        &mut self,
        name: &'static str,
        short: &'static str,
        mut read: impl FnMut(&str, &mut Fields<'_>) -> T,
    ) -> Vec<T> {
        let Some(field) = self.find(name) else { return Vec::new() };
        let Tree::Map(entries) = &field.node.value else {
            self.wrong(name, field.line, &field.node, "a map of names");
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries {
            let place = format!("{name}.{}", shortened(&entry.name, NAME_CHARS_MAX));
            let alone = [MapField { name: short.to_owned(), ..entry.clone() }];
            let fields: &[MapField] = match &entry.node.value {
                Tree::Map(fields) => fields,
                Tree::Text(_) | Tree::Number(_) | Tree::Spelled(..) => &alone,
                _ => {
                    self.wrong(&place, entry.line, &entry.node, &format!("text, or a map with `{short}`"));
                    continue;
                }
            };
            let mut inner = Fields {
                file: self.file,
                variables: self.variables,
                withheld: self.withheld,
                secrets: self.secrets,
                line: entry.line,
                place: self.at(&place),
                fields,
                asked: HashSet::new(),
                is_broken: false,
                missing: Vec::new(),
                met: 0,
                problems: &mut *self.problems,
            };
            found.push(read(&entry.name, &mut inner));
            inner.finish();
        }
        found
    }

    /// Notes every field that nobody asked for, and those that are missing.
    pub fn finish(mut self) {
        let mut known: Vec<&str> = self.asked.iter().copied().collect();
        known.sort_unstable();
        let fields = self.fields;
        let unknown: Vec<&MapField> = fields.iter().filter(|field| !self.asked.contains(field.name.as_str())).collect();
        let misspelled: HashSet<&str> =
            unknown.iter().take(MISSPELLED_MAX).filter_map(|field| nearest(&field.name, &known)).collect();
        let missing = std::mem::take(&mut self.missing).into_iter();
        self.problems.extend(missing.filter(|(name, _)| !misspelled.contains(name)).map(|(_, problem)| problem));
        if let Some(more) = self.met.checked_sub(PROBLEMS_MAX).filter(|more| *more > 0) {
            let fix = "mend those above; these may be of the same kind".to_owned();
            self.problems.push(self.told("", self.line, format!("{more} more problems"), fix));
        }
        for field in unknown.iter().take(UNKNOWN_MAX) {
            let name = shortened(&field.name, NAME_CHARS_MAX);
            let fix = match nearest(&name, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("take it away; known here: {}", known.join(", ")),
            };
            let message = format!("`{}` is not known here", self.at(&name));
            self.problems.push(self.told(&name, field.line, message, fix));
        }
        if let Some(field) = unknown.get(UNKNOWN_MAX) {
            let message = format!("{} more fields from here on are not known here", unknown.len() - UNKNOWN_MAX);
            let fix = format!("take them away; known here: {}", known.join(", "));
            self.problems.push(self.told("", field.line, message, fix));
        }
    }
}

#[cfg(test)]
mod tests;
