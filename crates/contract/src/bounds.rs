//! What a schema must not be: no draft-7, too deep, too large, dangling, endless.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::schema::{Relation, children, clip, pointer_of, target};
use super::{ContractLimits, ContractProblem, work};

/// What can be said of one schema by itself.
pub(super) fn check_schema(origin: &str, schema: &Value, limits: &ContractLimits) -> Vec<ContractProblem> {
    if !schema.is_object() {
        return vec![ContractProblem::new(
            origin,
            "Its schema is not an object.",
            "Write a JSON Schema draft-7 object.",
        )];
    }
    if depth_exceeds(schema, limits.schema_depth_max) {
        let problem = format!("Its schema is nested deeper than {} levels.", limits.schema_depth_max);
        return vec![ContractProblem::new(origin, problem, "Move inner parts into components.")];
    }
    if let Some(draft) = schema.get("$schema")
        && !draft.as_str().is_some_and(|uri| uri.contains("draft-07"))
    {
        let fix = "Remove `$schema`, or write http://json-schema.org/draft-07/schema#.";
        return vec![ContractProblem::new(origin, format!("Its schema says that it is of {draft}, not draft-7."), fix)];
    }
    let meta = jsonschema::draft7::meta::validator();
    let errors = meta.iter_errors(schema).take(8);
    let problem = |error: jsonschema::ValidationError<'_>| {
        let at = error.instance_path().as_str();
        let at = if at.is_empty() { "the top" } else { at };
        let problem = format!("Its schema is not JSON Schema draft-7: at {at}, {}.", clip(&error.masked().to_string()));
        ContractProblem::new(origin, problem, "Correct that keyword.")
    };
    errors.map(problem).collect()
}

fn depth_exceeds(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels == 0 || list.iter().any(|value| depth_exceeds(value, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|value| depth_exceeds(value, levels - 1)),
        _ => false,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 1,
    }
}

/// Every schema of the document with its pointer.
fn locate(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), document)];
    while let Some((pointer, schema)) = open.pop() {
        if let Value::Object(map) = schema {
            open.extend(children(map).into_iter().map(|(below, child, _)| (format!("{pointer}{below}"), child)));
        }
        found.push((pointer, schema));
    }
    found
}

/// What can be said only of a schema together with everything that it refers to.
pub(super) fn check_document(
    origin: &str,
    document: &Value,
    limits: &ContractLimits,
) -> Result<(), Vec<ContractProblem>> {
    let bytes = serde_json::to_string(document).map_or(0, |text| text.len());
    if bytes > limits.schema_bytes_max {
        let problem = format!(
            "Its schema with the components it uses takes {bytes} bytes, above the limit of {}.",
            limits.schema_bytes_max
        );
        return Err(vec![ContractProblem::new(origin, problem, "Declare fewer fields, or free-form objects.")]);
    }
    let located = locate(document);
    let known: HashSet<&str> = located.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let mut targets = HashSet::new();
    let mut problems = Vec::new();
    for (_, schema) in &located {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { continue };
        match pointer_of(reference) {
            Some(pointer) if known.contains(pointer.as_str()) => drop(targets.insert(pointer)),
            _ => problems.push(ContractProblem::new(
                origin,
                format!("It refers to \"{}\", where there is no schema.", clip(reference)),
                "Point at a schema under `definitions`, or at #/definitions/components/<slug>.",
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // However the references are followed, no target is entered twice before the first visit is over; so the depth
    // of one visit is at most the sum of the depths of the targets.
    let depths = targets.iter().filter_map(|pointer| document.pointer(pointer)).map(depth_of);
    let depth = depths.sum::<usize>() + depth_of(document);
    if depth > limits.reference_depth_max {
        let problem = format!("Its schema refers to too much: {depth} levels, limit {}.", limits.reference_depth_max);
        return Err(vec![ContractProblem::new(origin, problem, "Use fewer components in one event, or flatter ones.")]);
    }
    let mut weights = Weights { document, applied_max: limits.applied_max, known: HashMap::new() };
    let in_place = located.iter().try_for_each(|(_, schema)| weights.of(schema).map(drop));
    in_place.and_then(|()| work::check(document, limits)).map_err(|problem| {
        let fix = "Refer to a schema from inside a property or an item, and only once from the same place.";
        vec![ContractProblem::new(origin, problem, fix)]
    })
}

/// How many schemas apply to one value. A schema that reaches itself without going into the value would never end;
/// one that doubles at every reference would end too late.
struct Weights<'a> {
    document: &'a Value,
    applied_max: usize,
    /// By address; `None` while it is being weighed.
    known: HashMap<*const Value, Option<usize>>,
}

impl Weights<'_> {
    fn of(&mut self, schema: &Value) -> Result<usize, String> {
        let key = std::ptr::from_ref(schema);
        match self.known.get(&key) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => return Err("Its schema refers to itself without end.".to_owned()),
            None => drop(self.known.insert(key, None)),
        }
        let mut weight = 1_usize;
        if let Value::Object(map) = schema {
            let document = self.document;
            if let Some(target) = map.get("$ref").and_then(Value::as_str).and_then(|found| target(document, found)) {
                weight = weight.saturating_add(self.of(target)?);
            }
            for (_, child, relation) in children(map) {
                if matches!(relation, Relation::Same | Relation::Negated) {
                    weight = weight.saturating_add(self.of(child)?);
                }
            }
        }
        if weight > self.applied_max {
            return Err(format!("Its schema applies more than {} schemas to one value.", self.applied_max));
        }
        self.known.insert(key, Some(weight));
        Ok(weight)
    }
}
