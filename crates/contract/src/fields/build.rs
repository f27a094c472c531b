//! From a document to the declared fields of a rule.

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::super::ContractLimits;
use super::super::schema::{Relation, children, clip, members, target};
use super::{Below, CONTEXT, ContractFields, DECLARED_PARTS, FieldNode, FoundFields};

/// Why fields could not be compiled: one sentence, and how to mend it.
pub(crate) type RefusedSchema = (String, &'static str);

/// Compiles the declared fields of a prepared `document`. `context_names` count as declared in `context`, with
/// whatever is below them.
pub(crate) fn compile(
    document: &Value,
    context_names: &[&str],
    limits: &ContractLimits,
) -> Result<ContractFields, RefusedSchema> {
    let mut builder = FieldsBuilder { document, limits, nodes: Vec::new(), known: HashMap::new(), open: Vec::new() };
    let root = builder.place(&[document])?;
    while let Some((number, schemas)) = builder.open.pop() {
        builder.nodes[number as usize] = builder.build(&schemas)?;
    }
    let mut nodes = builder.nodes;
    let mut parts = DECLARED_PARTS.map(|part| {
        let found = root.map(|root| nodes[root as usize].find(part, &mut 0));
        if let Some(FoundFields::Declared(below)) = found { below } else { None }
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
    Ok(ContractFields { nodes, parts })
}

/// Forgets the way to every node under which nothing can be undeclared.
fn drop_idle(nodes: &mut [FieldNode], parts: &mut [Below; 3]) {
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
    for below in nodes.iter_mut().flat_map(FieldNode::belows_mut).chain(parts) {
        *below = below.filter(|number| live[*number as usize]);
    }
    for node in nodes {
        if node.items.is_none() && node.first_items.iter().all(Option::is_none) {
            node.first_items = Vec::new();
        }
    }
}

fn number_of(nodes: &[FieldNode]) -> Result<u32, std::num::TryFromIntError> {
    u32::try_from(nodes.len())
}

struct FieldsBuilder<'a> {
    document: &'a Value,
    limits: &'a ContractLimits,
    nodes: Vec<FieldNode>,
    /// Nodes by the schemas gathered in them (their addresses, sorted).
    known: HashMap<Vec<*const Value>, u32>,
    /// Numbered, still to be built.
    open: Vec<(u32, Vec<&'a Map<String, Value>>)>,
}

impl<'a> FieldsBuilder<'a> {
    /// The node of the place where `schemas` apply, numbered at first sight and built later: a recursive schema
    /// comes back to a number that is already known.
    fn place(&mut self, schemas: &[&'a Value]) -> Result<Below, RefusedSchema> {
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
        self.nodes.push(FieldNode::default());
        self.known.insert(key, number);
        self.open.push((number, schemas));
        Ok(Some(number))
    }

    fn build(&mut self, schemas: &[&'a Map<String, Value>]) -> Result<FieldNode, RefusedSchema> {
        let mut node = FieldNode::default();
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
        // A key that matches a pattern of one schema may be merely welcome to another.
        patterned.extend(&extra);
        node.patterned = self.place(&patterned)?;
        node.extra = self.place(&extra)?;
        node.patterns = patterns.into_values().collect();
        self.build_items(schemas, &mut node)?;
        Ok(node)
    }

    fn build_items(&mut self, schemas: &[&'a Map<String, Value>], node: &mut FieldNode) -> Result<(), RefusedSchema> {
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

    fn pattern(&self, pattern: &str) -> Result<Regex, RefusedSchema> {
        let built = RegexBuilder::new(pattern).size_limit(self.limits.pattern_bytes_max).build();
        built.map_err(|_| {
            let problem = format!("Its pattern {} cannot be used.", Value::from(clip(pattern)));
            (problem, "Write a pattern without look-around and back-references, and a shorter one if it is long.")
        })
    }
}

/// Whether a schema says anything of what is inside a value.
fn reaches_below(schema: &Map<String, Value>) -> bool {
    ["properties", "patternProperties", "additionalProperties", "items"].iter().any(|word| schema.contains_key(*word))
}
