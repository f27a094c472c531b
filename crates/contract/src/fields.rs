//! The fields that a rule declares, compiled: finds what an event carries beyond them.
//!
//! A schema is a tangle of references and branches; an event is a tree. So the schemas that apply to the same place
//! of an event are gathered into one **node** beforehand, and walking an event only looks keys up. A node without
//! anything to find below it does not exist, so most fields end the walk at once.

use regex::Regex;
use tidegate_event::value::Value;

use super::report::ReportStep;

mod build;

pub(super) use build::compile;

/// The top-level fields that hold what customers declare. All others are part of the envelope.
pub(super) const DECLARED_PARTS: [&str; 3] = ["context", "properties", "traits"];
const CONTEXT: usize = 0;

/// A node's number; `None` where nothing can be undeclared.
type Below = Option<u32>;

/// The declared fields of one rule.
pub(super) struct ContractFields {
    nodes: Vec<FieldNode>,
    /// For each of [`DECLARED_PARTS`].
    parts: [Below; 3],
}

/// What is declared at one place of an event.
#[derive(Clone, Default)]
struct FieldNode {
    /// Some schema lists the properties of this object.
    declares: bool,
    /// Some schema welcomes further properties.
    open: bool,
    /// Declared keys, sorted.
    keys: Vec<(Box<str>, Below)>,
    patterns: Vec<Regex>,
    /// Below a key that matches any of the patterns.
    patterned: Below,
    /// Below a key that is merely welcome.
    extra: Below,
    /// Below the first items of an array, when they differ.
    first_items: Vec<Below>,
    /// Below all other items.
    items: Below,
}

enum FoundFields {
    Declared(Below),
    Undeclared,
}

impl FieldNode {
    /// Looks `key` up. `hint` is where the last key was found: events carry keys in the order of `keys`, so the
    /// next one is mostly found there without a search.
    fn find(&self, key: &str, hint: &mut usize) -> FoundFields {
        if let Some((next, below)) = self.keys.get(*hint)
            && **next == *key
        {
            *hint += 1;
            return FoundFields::Declared(*below);
        }
        if let Ok(at) = self.keys.binary_search_by(|(known, _)| (**known).cmp(key)) {
            *hint = at + 1;
            return FoundFields::Declared(self.keys[at].1);
        }
        if self.patterns.iter().any(|pattern| pattern.is_match(key)) {
            return FoundFields::Declared(self.patterned);
        }
        if self.open {
            return FoundFields::Declared(self.extra);
        }
        if self.declares { FoundFields::Undeclared } else { FoundFields::Declared(None) }
    }

    fn item(&self, index: usize) -> Below {
        self.first_items.get(index).copied().unwrap_or(self.items)
    }

    fn belows(&self) -> impl Iterator<Item = u32> + '_ {
        let keys = self.keys.iter().map(|(_, below)| *below);
        let others = [self.patterned, self.extra, self.items];
        keys.chain(others).chain(self.first_items.iter().copied()).flatten()
    }

    fn belows_mut(&mut self) -> impl Iterator<Item = &mut Below> {
        let keys = self.keys.iter_mut().map(|(_, below)| below);
        let others = [&mut self.patterned, &mut self.extra, &mut self.items];
        keys.chain(others).chain(self.first_items.iter_mut())
    }
}

impl ContractFields {
    /// Whether everything in `body` is declared. Allocates nothing.
    pub(super) fn cover(&self, body: &Value) -> bool {
        self.parts(body).all(|(_, node, value)| self.covers(node, value))
    }

    /// Calls `found` with the path of every undeclared field, the outermost only.
    pub(super) fn each_undeclared(&self, body: &Value, found: &mut dyn FnMut(&[ReportStep<'_>])) {
        for (part, node, value) in self.parts(body) {
            self.search(node, value, &mut vec![ReportStep::Key(part)], found);
        }
    }

    /// Removes every undeclared field.
    pub(super) fn omit_undeclared(&self, body: &mut Value) {
        for (part, below) in DECLARED_PARTS.into_iter().zip(self.parts) {
            if let (Some(node), Some(value)) = (below, body.get_mut(part)) {
                self.omit(node, value);
            }
        }
    }

    fn parts<'a>(&'a self, body: &'a Value) -> impl Iterator<Item = (&'static str, u32, &'a Value)> {
        let parts = DECLARED_PARTS.into_iter().zip(self.parts);
        parts.filter_map(|(part, below)| Some((part, below?, body.get(part)?)))
    }

    fn node(&self, number: u32) -> &FieldNode {
        &self.nodes[number as usize]
    }

    fn covers(&self, number: u32, value: &Value) -> bool {
        let node = self.node(number);
        match value {
            Value::Object(map) => {
                let mut hint = 0;
                map.iter().all(|(key, value)| match node.find(key, &mut hint) {
                    FoundFields::Declared(Some(below)) => self.covers(below, value),
                    FoundFields::Declared(None) => true,
                    FoundFields::Undeclared => false,
                })
            }
            Value::Array(list) if node.items.is_some() || !node.first_items.is_empty() => {
                list.iter().enumerate().all(|(at, value)| node.item(at).is_none_or(|below| self.covers(below, value)))
            }
            _ => true,
        }
    }

    fn search<'a>(
        &self,
        number: u32,
        value: &'a Value,
        path: &mut Vec<ReportStep<'a>>,
        found: &mut dyn FnMut(&[ReportStep<'_>]),
    ) {
        let node = self.node(number);
        match value {
            Value::Object(map) => {
                let mut hint = 0;
                for (key, value) in map {
                    path.push(ReportStep::Key(key));
                    match node.find(key, &mut hint) {
                        FoundFields::Declared(Some(below)) => self.search(below, value, path, found),
                        FoundFields::Declared(None) => {}
                        FoundFields::Undeclared => found(path),
                    }
                    path.pop();
                }
            }
            Value::Array(list) => {
                for (at, value) in list.iter().enumerate() {
                    let Some(below) = node.item(at) else { continue };
                    path.push(ReportStep::Index(at));
                    self.search(below, value, path, found);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn omit(&self, number: u32, value: &mut Value) {
        let node = self.node(number);
        match value {
            Value::Object(map) => {
                let mut hint = 0;
                map.retain(|key, value| match node.find(key, &mut hint) {
                    FoundFields::Declared(Some(below)) => {
                        self.omit(below, value);
                        true
                    }
                    FoundFields::Declared(None) => true,
                    FoundFields::Undeclared => false,
                });
            }
            Value::Array(list) => {
                for (at, value) in list.make_mut().iter_mut().enumerate() {
                    if let Some(below) = node.item(at) {
                        self.omit(below, value);
                    }
                }
            }
            _ => {}
        }
    }
}
