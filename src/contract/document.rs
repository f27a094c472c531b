//! From a schema as written to one self-contained document that can be compiled without surprises.
//!
//! The document holds the schema and the components it reaches; every `$ref` in it points at a schema inside it;
//! nothing in it is cyclic in place, too deep or too large. Faults are found here, where their origin is known,
//! rather than by the validator.

use std::collections::{BTreeMap, HashMap, HashSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Fault, Limits};

const COMPONENTS: &str = "/definitions/components/";
/// What a `$ref` may show unescaped; everything else is percent-encoded, as a URI fragment wants it.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How a schema stands to the schema that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Applies to the same value.
    Same,
    /// Applies to the same value, and must not hold.
    Negated,
    /// Applies to something inside the value.
    Below,
    /// Applies only where something refers to it.
    Apart,
}

/// Keywords whose value is a schema, a list of schemas, or a map of schemas.
const KEYWORDS: [(&str, Relation); 17] = [
    ("additionalItems", Relation::Below),
    ("additionalProperties", Relation::Below),
    ("allOf", Relation::Same),
    ("anyOf", Relation::Same),
    ("contains", Relation::Below),
    ("definitions", Relation::Apart),
    ("$defs", Relation::Apart),
    ("dependencies", Relation::Same),
    ("else", Relation::Same),
    ("if", Relation::Same),
    ("items", Relation::Below),
    ("not", Relation::Negated),
    ("oneOf", Relation::Same),
    ("patternProperties", Relation::Below),
    ("properties", Relation::Below),
    ("propertyNames", Relation::Below),
    ("then", Relation::Same),
];

fn is_map_of_schemas(keyword: &str) -> bool {
    matches!(keyword, "definitions" | "$defs" | "dependencies" | "patternProperties" | "properties")
}

/// The schemas directly inside `schema`, each with its pointer below it. Draft-7 ignores what stands beside a `$ref`,
/// definitions excepted.
pub(super) fn children(schema: &Map<String, Value>) -> Vec<(String, &Value, Relation)> {
    let refers = schema.contains_key("$ref");
    let mut found = Vec::new();
    for (keyword, relation) in KEYWORDS {
        let Some(value) = schema.get(keyword) else { continue };
        if refers && relation != Relation::Apart {
            continue;
        }
        match value {
            Value::Object(map) if is_map_of_schemas(keyword) => {
                let schemas = map.iter().filter(|(_, value)| is_schema(value));
                found.extend(schemas.map(|(key, value)| (format!("/{keyword}/{}", escape(key)), value, relation)));
            }
            Value::Array(list) => {
                let schemas = list.iter().enumerate().filter(|(_, value)| is_schema(value));
                found.extend(schemas.map(|(index, value)| (format!("/{keyword}/{index}"), value, relation)));
            }
            value if is_schema(value) => found.push((format!("/{keyword}"), value, relation)),
            _ => {}
        }
    }
    found
}

fn children_mut(schema: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (keyword, value) in schema.iter_mut() {
        if !KEYWORDS.iter().any(|(known, _)| known == keyword) {
            continue;
        }
        if value.is_object() && !is_map_of_schemas(keyword) {
            found.push(value);
        } else if let Value::Object(map) = value {
            found.extend(map.values_mut());
        } else if let Value::Array(list) = value {
            found.extend(list);
        }
    }
    found
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The schema that `reference` points at. Every reference of a prepared document is known to point at one.
pub(super) fn target<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(&pointer_of(reference)?)
}

/// The JSON pointer in a local reference; `None` of a remote one or of an anchor.
fn pointer_of(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    let pointer = percent_decode_str(fragment).decode_utf8().ok()?.into_owned();
    (pointer.is_empty() || pointer.starts_with('/')).then_some(pointer)
}

/// A component after its own checks, ready to be put into documents.
pub(super) struct Component {
    schema: Value,
    /// Slugs that it refers to.
    needs: Vec<String>,
}

/// Checks the components of a domain, each by itself.
pub(super) fn components(
    domain: &str,
    written: &BTreeMap<String, Value>,
    limits: &Limits,
) -> (BTreeMap<String, Component>, Vec<Fault>) {
    let mut ready = BTreeMap::new();
    let mut faults = Vec::new();
    for (slug, schema) in written {
        let origin = format!("component \"{slug}\" of domain \"{domain}\"");
        let found = check_schema(&origin, schema, limits);
        if !found.is_empty() {
            faults.extend(found);
            continue;
        }
        let mut schema = schema.clone();
        let mut refs = References { origin: &origin, in_component: true, needs: Vec::new(), faults: Vec::new() };
        refs.normalize(&mut schema);
        let References { needs, faults: found, .. } = refs;
        let unknown = needs.iter().filter(|need| !written.contains_key(*need));
        faults.extend(unknown.map(|need| unknown_component(&origin, need)));
        faults.extend(found);
        ready.insert(slug.clone(), Component { schema, needs });
    }
    (ready, faults)
}

/// Makes one rule's schema into a document. `context_names` are the context fields that count as declared.
pub(super) fn prepare(
    origin: &str,
    written: &Value,
    components: &BTreeMap<String, Component>,
    context_names: &[&str],
    limits: &Limits,
) -> Result<Value, Vec<Fault>> {
    let faults = check_schema(origin, written, limits);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut document = written.clone();
    let mut own = own_components(&mut document);
    let mut refs = References { origin, in_component: false, needs: Vec::new(), faults: Vec::new() };
    refs.normalize(&mut document);
    refs.in_component = true;
    own.values_mut().for_each(|schema| refs.normalize(schema));

    let mut wanted = std::mem::take(&mut refs.needs);
    let mut taken = Map::new();
    while let Some(slug) = wanted.pop() {
        let key = component_key(&slug);
        if taken.contains_key(&key) {
            continue;
        }
        match (own.get(&slug), components.get(&slug)) {
            (Some(_), Some(_)) => refs.faults.push(Fault::new(
                origin,
                format!("It brings a component \"{slug}\" of its own, and the domain has one of that name too."),
                "Keep one of the two.",
            )),
            (Some(schema), None) => drop(taken.insert(key, schema.clone())),
            (None, Some(component)) => {
                taken.insert(key, component.schema.clone());
                wanted.extend(component.needs.iter().cloned());
            }
            (None, None) => refs.faults.push(unknown_component(origin, &slug)),
        }
    }
    if !refs.faults.is_empty() {
        return Err(refs.faults);
    }
    if let (Some(root), false) = (document.as_object_mut(), taken.is_empty()) {
        let definitions = root.entry("definitions").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(definitions) = definitions {
            definitions.append(&mut taken);
        }
    }
    check_document(origin, &document, limits)?;
    let before = document.clone();
    open_up(&mut document, &before, Place::Root, context_names);
    if let (Some(root), Some(definitions)) = (document.as_object_mut(), before.get("definitions")) {
        root.insert("definitions".to_owned(), definitions.clone());
    }
    Ok(document)
}

/// Takes the components that a schema carries in itself, so that they and the domain's are named alike.
fn own_components(document: &mut Value) -> Map<String, Value> {
    let definitions = document.get_mut("definitions").and_then(Value::as_object_mut);
    match definitions.and_then(|definitions| definitions.remove("components")) {
        Some(Value::Object(own)) => own.into_iter().filter(|(_, schema)| is_schema(schema)).collect(),
        _ => Map::new(),
    }
}

/// The key of a component among a document's `definitions`. A component by its bare slug could be taken for a
/// keyword (`title`) or collide with a definition.
fn component_key(slug: &str) -> String {
    format!("components/{slug}")
}

fn unknown_component(origin: &str, slug: &str) -> Fault {
    Fault::new(
        origin,
        format!("It refers to the component \"{slug}\", which does not exist here."),
        "Add the component to the domain, or give it this source, or mend the name after #/definitions/components/.",
    )
}

/// What can be said of one schema by itself.
fn check_schema(origin: &str, schema: &Value, limits: &Limits) -> Vec<Fault> {
    if !schema.is_object() {
        return vec![Fault::new(origin, "Its schema is not an object.", "Write a JSON Schema draft-7 object.")];
    }
    if depth_exceeds(schema, limits.schema_depth_max) {
        let problem = format!("Its schema is nested deeper than {} levels.", limits.schema_depth_max);
        return vec![Fault::new(origin, problem, "Move inner parts into components.")];
    }
    if let Some(draft) = schema.get("$schema")
        && !draft.as_str().is_some_and(|uri| uri.contains("draft-07"))
    {
        let fix = "Remove `$schema`, or write http://json-schema.org/draft-07/schema#.";
        return vec![Fault::new(origin, format!("Its schema says that it is of {draft}, not draft-7."), fix)];
    }
    let meta = jsonschema::draft7::meta::validator();
    let errors = meta.iter_errors(schema).take(8);
    let fault = |error: jsonschema::ValidationError<'_>| {
        let at = error.instance_path().as_str();
        let at = if at.is_empty() { "the top" } else { at };
        let problem = format!("Its schema is not JSON Schema draft-7: at {at}, {}.", clip(&error.masked().to_string()));
        Fault::new(origin, problem, "Correct that keyword.")
    };
    errors.map(fault).collect()
}

pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(400)]
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

/// Rewrites the references of one schema and remembers what they need.
struct References<'a> {
    origin: &'a str,
    in_component: bool,
    needs: Vec<String>,
    faults: Vec<Fault>,
}

impl References<'_> {
    /// Leaves only local references by pointer. An `$id` would change what they are relative to, and `$schema` is
    /// settled, so both go.
    fn normalize(&mut self, schema: &mut Value) {
        let Value::Object(map) = schema else { return };
        map.remove("$id");
        map.remove("$schema");
        if let Some(Value::String(reference)) = map.get("$ref") {
            match self.rewrite(reference) {
                Ok(reference) => drop(map.insert("$ref".to_owned(), Value::String(reference))),
                Err(fault) => self.faults.push(fault),
            }
            map.retain(|keyword, _| matches!(keyword.as_str(), "$ref" | "definitions" | "$defs"));
        }
        for child in children_mut(map) {
            self.normalize(child);
        }
    }

    fn rewrite(&mut self, reference: &str) -> Result<String, Fault> {
        let Some(pointer) = pointer_of(reference) else {
            return Err(Fault::new(
                self.origin,
                format!("It refers to \"{}\", which is outside of the domain.", clip(reference)),
                "Nothing is fetched: add it as a component and refer to #/definitions/components/<slug>.",
            ));
        };
        if let Some(rest) = pointer.strip_prefix(COMPONENTS) {
            let (slug, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let slug = slug.replace("~1", "/").replace("~0", "~");
            let pointer = format!("/definitions/{}{below}", escape(&component_key(&slug)));
            self.needs.push(slug);
            return Ok(format!("#{}", utf8_percent_encode(&pointer, FRAGMENT)));
        }
        if self.in_component {
            return Err(Fault::new(
                self.origin,
                format!("It refers to \"{}\", which means something else in every schema.", clip(reference)),
                "In a component, refer to components only: #/definitions/components/<slug>.",
            ));
        }
        Ok(format!("#{}", utf8_percent_encode(&pointer, FRAGMENT)))
    }
}

/// Every schema of the document with its pointer.
fn locate<'a>(document: &'a Value) -> Vec<(String, &'a Value)> {
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
fn check_document(origin: &str, document: &Value, limits: &Limits) -> Result<(), Vec<Fault>> {
    let bytes = serde_json::to_string(document).map_or(0, |text| text.len());
    if bytes > limits.schema_bytes_max {
        let problem = format!(
            "Its schema with the components it uses takes {bytes} bytes, above the limit of {}.",
            limits.schema_bytes_max
        );
        return Err(vec![Fault::new(origin, problem, "Declare fewer fields, or free-form objects.")]);
    }
    let located = locate(document);
    let known: HashSet<&str> = located.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let mut targets = HashSet::new();
    let mut faults = Vec::new();
    for (_, schema) in &located {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { continue };
        match pointer_of(reference) {
            Some(pointer) if known.contains(pointer.as_str()) => drop(targets.insert(pointer)),
            _ => faults.push(Fault::new(
                origin,
                format!("It refers to \"{}\", where there is no schema.", clip(reference)),
                "Point at a schema under `definitions`, or at #/definitions/components/<slug>.",
            )),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // However the references are followed, no target is entered twice before the first visit is over; so the depth
    // of one visit is at most the sum of the depths of the targets.
    let depths = targets.iter().filter_map(|pointer| document.pointer(pointer)).map(depth_of);
    let depth = depths.sum::<usize>() + depth_of(document);
    if depth > limits.reference_depth_max {
        let problem = format!("Its schema refers to too much: {depth} levels, limit {}.", limits.reference_depth_max);
        return Err(vec![Fault::new(origin, problem, "Use fewer components in one event, or flatter ones.")]);
    }
    let mut weights = Weights { document, applied_max: limits.applied_max, known: HashMap::new() };
    for (_, schema) in &located {
        if let Err(problem) = weights.of(schema) {
            let fix = "Refer to a schema from inside a property or an item, and only once.";
            return Err(vec![Fault::new(origin, problem, fix)]);
        }
    }
    Ok(())
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Context,
}

/// Lets the fields in that are never undeclared: a closed top level must not refuse what the server adds, a closed
/// `context` must not refuse what counts as declared. A reference at these places is replaced by its target, because
/// the target may serve at other places too, where it stays closed.
fn open_up(schema: &mut Value, document: &Value, place: Place, context_names: &[&str]) {
    while let Some(found) = schema.get("$ref").and_then(Value::as_str).and_then(|found| target(document, found)) {
        *schema = found.clone();
    }
    let Value::Object(map) = schema else { return };
    if map.get("additionalProperties") == Some(&Value::Bool(false)) {
        match place {
            Place::Root => drop(map.remove("additionalProperties")),
            Place::Context => {
                if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                    for name in context_names {
                        properties.entry(*name).or_insert(Value::Bool(true));
                    }
                }
            }
        }
    }
    if place == Place::Root
        && let Some(context) = map.get_mut("properties").and_then(|properties| properties.get_mut("context"))
    {
        open_up(context, document, Place::Context, context_names);
    }
    for (keyword, relation) in KEYWORDS {
        if relation != Relation::Same {
            continue;
        }
        match map.get_mut(keyword) {
            Some(Value::Array(list)) => list.iter_mut().for_each(|it| open_up(it, document, place, context_names)),
            Some(Value::Object(inner)) if is_map_of_schemas(keyword) => {
                inner.values_mut().for_each(|it| open_up(it, document, place, context_names));
            }
            Some(value @ Value::Object(_)) => open_up(value, document, place, context_names),
            _ => {}
        }
    }
}
