//! From a schema as written to one self-contained document that can be compiled without surprises.
//!
//! The document holds the schema and the components it reaches; every `$ref` in it points at a schema inside it;
//! nothing in it is cyclic in place, too deep or too large. Problems are found here, where their origin is known,
//! rather than by the validator.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate_document::pointer;

use super::bounds::{check_document, check_schema};
use super::schema::{Relation, children_mut, clip, escape, is_schema, pointer_of, reference_to, target};
use super::{ContractLimits, ContractProblem};

const COMPONENTS: &str = "/definitions/components/";

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
    limits: &ContractLimits,
) -> (BTreeMap<String, Component>, Vec<ContractProblem>) {
    let mut ready = BTreeMap::new();
    let mut problems = Vec::new();
    for (slug, schema) in written {
        let origin = format!("component \"{slug}\" of domain \"{domain}\"");
        let found = check_schema(&origin, schema, limits);
        if !found.is_empty() {
            problems.extend(found);
            continue;
        }
        let mut schema = schema.clone();
        let mut refs = References { origin: &origin, in_component: true, needs: Vec::new(), problems: Vec::new() };
        refs.normalize(&mut schema);
        let References { needs, problems: found, .. } = refs;
        let unknown = needs.iter().filter(|need| !written.contains_key(*need));
        problems.extend(unknown.map(|need| unknown_component(&origin, need)));
        problems.extend(found);
        ready.insert(slug.clone(), Component { schema, needs });
    }
    (ready, problems)
}

/// Makes one rule's schema into a document. `context_names` are the context fields that count as declared.
pub(super) fn prepare(
    origin: &str,
    written: &Value,
    components: &BTreeMap<String, Component>,
    context_names: &[&str],
    limits: &ContractLimits,
) -> Result<Value, Vec<ContractProblem>> {
    let problems = check_schema(origin, written, limits);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut document = written.clone();
    let mut own = own_components(&mut document);
    let mut refs = References { origin, in_component: false, needs: Vec::new(), problems: Vec::new() };
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
            (Some(_), Some(_)) => refs.problems.push(ContractProblem::new(
                origin,
                format!("It brings a component \"{slug}\" of its own, and the domain has one of that name too."),
                "Keep one of the two.",
            )),
            (Some(schema), None) => drop(taken.insert(key, schema.clone())),
            (None, Some(component)) => {
                taken.insert(key, component.schema.clone());
                wanted.extend(component.needs.iter().cloned());
            }
            (None, None) => refs.problems.push(unknown_component(origin, &slug)),
        }
    }
    if !refs.problems.is_empty() {
        return Err(refs.problems);
    }
    if let (Some(root), false) = (document.as_object_mut(), taken.is_empty()) {
        let definitions = root.entry("definitions").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(definitions) = definitions {
            definitions.append(&mut taken);
        }
    }
    check_document(origin, &document, limits)?;
    let before = document.clone();
    open_up(&mut document, &before, DocumentPlace::Root, context_names);
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

fn unknown_component(origin: &str, slug: &str) -> ContractProblem {
    ContractProblem::new(
        origin,
        format!("It refers to the component \"{slug}\", which does not exist here."),
        "Add the component to the domain, or give it this source, or mend the name after #/definitions/components/.",
    )
}

/// Rewrites the references of one schema and remembers what they need.
struct References<'a> {
    origin: &'a str,
    in_component: bool,
    needs: Vec<String>,
    problems: Vec<ContractProblem>,
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
                Err(problem) => self.problems.push(problem),
            }
            map.retain(|keyword, _| matches!(keyword.as_str(), "$ref" | "definitions" | "$defs"));
        }
        for (child, _) in children_mut(map) {
            self.normalize(child);
        }
    }

    fn rewrite(&mut self, reference: &str) -> Result<String, ContractProblem> {
        let Some(pointer) = pointer_of(reference) else {
            return Err(ContractProblem::new(
                self.origin,
                format!("It refers to \"{}\", which is outside of the domain.", clip(reference)),
                "Nothing is fetched: add it as a component and refer to #/definitions/components/<slug>.",
            ));
        };
        if let Some(rest) = pointer.strip_prefix(COMPONENTS) {
            let below = rest.find('/').map_or("", |at| &rest[at..]);
            let slug = pointer::steps(rest).next().unwrap_or_default();
            let pointer = format!("/definitions/{}{below}", escape(&component_key(&slug)));
            self.needs.push(slug);
            return Ok(reference_to(&pointer));
        }
        if self.in_component {
            return Err(ContractProblem::new(
                self.origin,
                format!("It refers to \"{}\", which means something else in every schema.", clip(reference)),
                "In a component, refer to components only: #/definitions/components/<slug>.",
            ));
        }
        Ok(reference_to(&pointer))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DocumentPlace {
    Root,
    Context,
}

/// Lets the fields in that are never undeclared: a closed top level must not refuse what the server adds, a closed
/// `context` must not refuse what counts as declared. A reference at these places is replaced by its target, because
/// the target may serve at other places too, where it stays closed.
fn open_up(schema: &mut Value, document: &Value, place: DocumentPlace, context_names: &[&str]) {
    while let Some(found) = schema.get("$ref").and_then(Value::as_str).and_then(|found| target(document, found)) {
        *schema = found.clone();
    }
    let Value::Object(map) = schema else { return };
    if map.get("additionalProperties") == Some(&Value::Bool(false)) {
        match place {
            DocumentPlace::Root => drop(map.remove("additionalProperties")),
            DocumentPlace::Context => {
                if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                    for name in context_names {
                        properties.entry(*name).or_insert(Value::Bool(true));
                    }
                }
            }
        }
    }
    if place == DocumentPlace::Root
        && let Some(context) = map.get_mut("properties").and_then(|properties| properties.get_mut("context"))
    {
        open_up(context, document, DocumentPlace::Context, context_names);
    }
    for (child, relation) in children_mut(map) {
        if relation == Relation::Same {
            open_up(child, document, place, context_names);
        }
    }
}
