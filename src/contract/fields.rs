//! The fields that a rule declares, compiled: finds what an event carries beyond them.
//!
//! A schema is a tangle of references and branches; an event is a tree. So the schemas that apply to the same place
//! of an event are gathered into one **node** beforehand, and walking an event only looks keys up. A node without
//! anything to find below it does not exist, so most fields end the walk at once.

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::Limits;
use super::document::{Relation, children, target};
use super::report::Step;

/// The top-level fields that hold what customers declare. All others are part of the envelope.
pub(super) const DECLARED_PARTS: [&str; 3] = ["context", "properties", "traits"];
const CONTEXT: usize = 0;

/// A node's number; `None` where nothing can be undeclared.
type Below = Option<u32>;

/// The declared fields of one rule.
pub(super) struct Fields {
    nodes: Vec<Node>,
    /// For each of [`DECLARED_PARTS`].
    parts: [Below; 3],
}

/// What is declared at one place of an event.
#[derive(Clone, Default)]
struct Node {
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

enum Found {
    Declared(Below),
    Undeclared,
}

impl Node {
    /// Looks `key` up. `hint` is where the last key was found: events carry keys in the order of `keys`, so the
    /// next one is mostly found there without a search.
    fn find(&self, key: &str, hint: &mut usize) -> Found {
        if let Some((next, below)) = self.keys.get(*hint)
            && **next == *key
        {
            *hint += 1;
            return Found::Declared(*below);
        }
        if let Ok(at) = self.keys.binary_search_by(|(known, _)| (**known).cmp(key)) {
            *hint = at + 1;
            return Found::Declared(self.keys[at].1);
        }
        if self.patterns.iter().any(|pattern| pattern.is_match(key)) {
            return Found::Declared(self.patterned);
        }
        if self.open {
            return Found::Declared(self.extra);
        }
        if self.declares { Found::Undeclared } else { Found::Declared(None) }
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

impl Fields {
    /// Whether everything in `body` is declared. Allocates nothing.
    pub(super) fn cover(&self, body: &Value) -> bool {
        self.parts(body).all(|(_, node, value)| self.covers(node, value))
    }

    /// Calls `found` with the path of every undeclared field, the outermost only.
    pub(super) fn each_undeclared(&self, body: &Value, found: &mut dyn FnMut(&[Step<'_>])) {
        for (part, node, value) in self.parts(body) {
            self.search(node, value, &mut vec![Step::Key(part)], found);
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

    fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    fn covers(&self, number: u32, value: &Value) -> bool {
        let node = self.node(number);
        match value {
            Value::Object(map) => {
                let mut hint = 0;
                map.iter().all(|(key, value)| match node.find(key, &mut hint) {
                    Found::Declared(Some(below)) => self.covers(below, value),
                    Found::Declared(None) => true,
                    Found::Undeclared => false,
                })
            }
            Value::Array(list) if node.items.is_some() || !node.first_items.is_empty() => {
                list.iter().enumerate().all(|(at, value)| node.item(at).is_none_or(|below| self.covers(below, value)))
            }
            _ => true,
        }
    }

    fn search<'a>(&self, number: u32, value: &'a Value, path: &mut Vec<Step<'a>>, found: &mut dyn FnMut(&[Step<'_>])) {
        let node = self.node(number);
        match value {
            Value::Object(map) => {
                let mut hint = 0;
                for (key, value) in map {
                    path.push(Step::Key(key));
                    match node.find(key, &mut hint) {
                        Found::Declared(Some(below)) => self.search(below, value, path, found),
                        Found::Declared(None) => {}
                        Found::Undeclared => found(path),
                    }
                    path.pop();
                }
            }
            Value::Array(list) => {
                for (at, value) in list.iter().enumerate() {
                    let Some(below) = node.item(at) else { continue };
                    path.push(Step::Index(at));
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
                    Found::Declared(Some(below)) => {
                        self.omit(below, value);
                        true
                    }
                    Found::Declared(None) => true,
                    Found::Undeclared => false,
                });
            }
            Value::Array(list) => {
                for (at, value) in list.iter_mut().enumerate() {
                    if let Some(below) = node.item(at) {
                        self.omit(below, value);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Why fields could not be compiled: one sentence, and how to mend it.
pub(super) type Refused = (String, &'static str);

/// Compiles the declared fields of a prepared `document`. `context_names` count as declared in `context`, with
/// whatever is below them.
pub(super) fn compile(document: &Value, context_names: &[&str], limits: &Limits) -> Result<Fields, Refused> {
    let mut builder = Builder { document, limits, nodes: Vec::new(), known: HashMap::new(), open: Vec::new() };
    let root = builder.place(&[document])?;
    while let Some((number, schemas)) = builder.open.pop() {
        builder.nodes[number as usize] = builder.build(&schemas)?;
    }
    let mut nodes = builder.nodes;
    let mut parts = DECLARED_PARTS.map(|part| {
        let found = root.map(|root| nodes[root as usize].find(part, &mut 0));
        if let Some(Found::Declared(below)) = found { below } else { None }
    });
    if let Some(context) = parts[CONTEXT]
        && nodes[context as usize].declares
    {
        let mut node = nodes[context as usize].clone();
        node.keys.retain(|(key, _)| !context_names.contains(&&**key));
        node.keys.extend(context_names.iter().map(|name| ((*name).into(), None)));
        node.keys.sort();
        parts[CONTEXT] = number_of(&nodes).ok();
        nodes.push(node);
    }
    drop_idle(&mut nodes, &mut parts);
    Ok(Fields { nodes, parts })
}

/// Forgets the way to every node under which nothing can be undeclared.
fn drop_idle(nodes: &mut [Node], parts: &mut [Below; 3]) {
    let mut above: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    let mut live = vec![false; nodes.len()];
    let mut open = Vec::new();
    for (number, node) in (0_u32..).zip(nodes.iter()) {
        node.belows().for_each(|below| above[below as usize].push(number));
        if node.declares && !node.open {
            live[number as usize] = true;
            open.push(number);
        }
    }
    while let Some(number) = open.pop() {
        for parent in std::mem::take(&mut above[number as usize]) {
            if !std::mem::replace(&mut live[parent as usize], true) {
                open.push(parent);
            }
        }
    }
    for below in nodes.iter_mut().flat_map(Node::belows_mut).chain(parts) {
        *below = below.filter(|number| live[*number as usize]);
    }
    for node in nodes {
        if node.items.is_none() && node.first_items.iter().all(Option::is_none) {
            node.first_items = Vec::new();
        }
    }
}

fn number_of(nodes: &[Node]) -> Result<u32, std::num::TryFromIntError> {
    u32::try_from(nodes.len())
}

struct Builder<'a> {
    document: &'a Value,
    limits: &'a Limits,
    nodes: Vec<Node>,
    /// Nodes by the schemas gathered in them (their addresses, sorted).
    known: HashMap<Vec<*const Value>, u32>,
    /// Numbered, still to be built.
    open: Vec<(u32, Vec<&'a Map<String, Value>>)>,
}

impl<'a> Builder<'a> {
    /// The node of the place where `schemas` apply, numbered at first sight and built later: a recursive schema
    /// comes back to a number that is already known.
    fn place(&mut self, schemas: &[&'a Value]) -> Result<Below, Refused> {
        let mut gathered = BTreeMap::new();
        let mut open = schemas.to_vec();
        while let Some(schema) = open.pop() {
            let Value::Object(map) = schema else { continue };
            if gathered.insert(std::ptr::from_ref(schema), map).is_some() {
                continue;
            }
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                open.extend(target(self.document, reference));
                continue;
            }
            let here = children(map).into_iter().filter(|(_, _, relation)| *relation == Relation::Same);
            open.extend(here.map(|(_, child, _)| child));
        }
        gathered.retain(|_, map| !map.contains_key("$ref") && reaches_below(map));
        if gathered.is_empty() {
            return Ok(None);
        }
        let (key, schemas): (Vec<_>, Vec<_>) = gathered.into_iter().unzip();
        if let Some(number) = self.known.get(&key) {
            return Ok(Some(*number));
        }
        let number = number_of(&self.nodes).ok().filter(|number| (*number as usize) < self.limits.places_max);
        let Some(number) = number else {
            let problem = format!("Its schema has more than {} places to check.", self.limits.places_max);
            return Err((problem, "Combine fewer branches, or declare free-form objects."));
        };
        self.nodes.push(Node::default());
        self.known.insert(key, number);
        self.open.push((number, schemas));
        Ok(Some(number))
    }

    fn build(&mut self, schemas: &[&'a Map<String, Value>]) -> Result<Node, Refused> {
        let mut node = Node::default();
        let mut patterns: BTreeMap<&str, Regex> = BTreeMap::new();
        let mut patterned = Vec::new();
        let mut extra = Vec::new();
        for schema in schemas {
            node.declares |= schema.contains_key("properties");
            for (pattern, below) in members(schema, "patternProperties") {
                if !patterns.contains_key(pattern.as_str()) {
                    patterns.insert(pattern, self.pattern(pattern)?);
                }
                patterned.push(below);
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => node.open = true,
                Some(below @ Value::Object(_)) => {
                    node.open = true;
                    extra.push(below);
                }
                _ => {}
            }
        }
        let listed: BTreeMap<&str, ()> = schemas
            .iter()
            .flat_map(|schema| members(schema, "properties"))
            .map(|(key, _)| (key.as_str(), ()))
            .collect();
        for key in listed.into_keys() {
            let mut below = Vec::new();
            for schema in schemas {
                let before = below.len();
                below.extend(schema.get("properties").and_then(|properties| properties.get(key)));
                let matching = members(schema, "patternProperties")
                    .filter(|(pattern, _)| patterns.get(pattern.as_str()).is_some_and(|pattern| pattern.is_match(key)));
                below.extend(matching.map(|(_, schema)| schema));
                if below.len() == before {
                    below.extend(schema.get("additionalProperties"));
                }
            }
            node.keys.push((key.into(), self.place(&below)?));
        }
        node.patterned = self.place(&patterned)?;
        node.extra = self.place(&extra)?;
        node.patterns = patterns.into_values().collect();
        self.build_items(schemas, &mut node)?;
        Ok(node)
    }

    fn build_items(&mut self, schemas: &[&'a Map<String, Value>], node: &mut Node) -> Result<(), Refused> {
        let lists = schemas.iter().filter_map(|schema| schema.get("items").and_then(Value::as_array));
        let length = lists.map(Vec::len).max().unwrap_or(0);
        let item = |schema: &&'a Map<String, Value>, at: Option<usize>| match schema.get("items")? {
            Value::Array(list) => at.and_then(|at| list.get(at)).or_else(|| schema.get("additionalItems")),
            every => Some(every),
        };
        for at in 0..length {
            let here: Vec<_> = schemas.iter().filter_map(|schema| item(schema, Some(at))).collect();
            let below = self.place(&here)?;
            node.first_items.push(below);
        }
        let rest: Vec<_> = schemas.iter().filter_map(|schema| item(schema, None)).collect();
        node.items = self.place(&rest)?;
        Ok(())
    }

    fn pattern(&self, pattern: &str) -> Result<Regex, Refused> {
        let built = RegexBuilder::new(pattern).size_limit(self.limits.pattern_bytes_max).build();
        built.map_err(|_| {
            let problem = format!("Its pattern {} cannot be used.", Value::from(super::document::clip(pattern)));
            (problem, "Write a pattern without look-around and back-references, and a shorter one if it is long.")
        })
    }
}

/// Whether a schema says anything of what is inside a value.
fn reaches_below(schema: &Map<String, Value>) -> bool {
    ["properties", "patternProperties", "additionalProperties", "items"].iter().any(|word| schema.contains_key(*word))
}

fn members<'a>(
    schema: &'a Map<String, Value>,
    keyword: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    schema.get(keyword).and_then(Value::as_object).into_iter().flatten()
}
